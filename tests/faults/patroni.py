"""Failover by Patroni: the primary dies, freezes or is cut off while the services bill and statuses change.

`deploy/patroni/check` runs this in a network of its own: three nodes with the shipped settings, and the services on the
host of their switch.
"""

import asyncio
import contextlib
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.schema import migrate
from faults.patroni_nodes import PASSWORD, PATIENCE_SECONDS, SHIPPED, Cluster, Node, cluster
from support import charges, fleet
from support.live_page import open_page
from support.pgbouncer import pgbouncer
from support.processes import Processes, Service
from support.storm import Storm, reading, statuses
from support.waiting import eventually, session_waiting_for

CYCLES = "select id from vps_billing_cycles"
# What `once` says when a primary goes before, at the start of, or in the middle of its run.
LOST_PRIMARY = ("cannot be reached", "away", "run failed")
TRUE_AFTER_SECONDS = 10.0
# HAProxy and PgBouncer have to notice, too, one after the other.
TRUE_BEHIND_POOLER_SECONDS = 20.0
FAILURES: dict[str, Callable[[Node], None]] = {
    "killed": Node.kill,
    "frozen": Node.freeze,
    "cut off": Node.cut_off,
}


@dataclass
class World:
    """A cluster with the services before it; `expected` is what each instance owes in all."""

    nodes: Cluster
    dsn: str
    processes: Processes
    expected: dict[UUID, int] = field(default_factory=dict)

    async def add_due(self, *, organizations: int) -> charges.DueFleet:
        connection = await self.nodes.connect()
        due = await charges.add_due_fleet(connection, organizations=organizations, instances=4, hours=3)
        await connection.close()
        self.expected |= due.expected
        return due

    async def all_billed(self) -> bool:
        connection = await self.nodes.connect()
        try:
            return await charges.hours_billed(connection) == self.expected
        finally:
            await connection.close()

    async def operate(self, *command: str) -> None:
        done = await self.processes.run("containerstacks", *command, database_url=self.nodes.dsn)
        assert done.exit_code == 0, done.output + done.errors

    async def verify(self) -> None:
        await self.operate("verify", "--full")


@pytest.fixture
async def nodes() -> AsyncIterator[Cluster]:
    """Three nodes of a test's own, with a migrated database and a user in it."""
    # pytest closes its own folders to others, and PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as nodes:
        primary = await nodes.become_whole()
        await asyncio.to_thread(migrate, primary.dsn)
        connection = await nodes.connect()
        await fleet.add_user(connection)
        await connection.close()
        yield nodes


@pytest.mark.timeout(900)
async def test_the_primary_dies_freezes_and_is_cut_off_in_a_run_and_a_storm(
    nodes: Cluster, processes: Processes, record_property: Callable[[str, object], None]
) -> None:
    world = World(nodes, nodes.dsn, processes)
    web = await processes.start_web(world.dsn)
    await processes.start_stats_aggregator(world.dsn, DATABASE_LISTEN_URL=nodes.dsn)
    for name, fail in FAILURES.items():
        outcome = await fail_over(world, web=web, fail=fail)
        record_property("survived", f"a primary that was {name}: {outcome}")
        await world.verify()
        outcome.failed.restore()
        await nodes.become_whole()
        # What the old primary comes back with is what the others say.
        assert await world.all_billed()


@pytest.mark.timeout(600)
async def test_a_switchover_and_a_minor_upgrade_fail_no_run(
    nodes: Cluster, processes: Processes, record_property: Callable[[str, object], None]
) -> None:
    world = World(nodes, nodes.dsn, processes)
    await processes.start_web(nodes.dsn)
    await processes.start_stats_aggregator(nodes.dsn)
    daemon = await processes.start_billing_daemon(nodes.dsn, BILLING_BATCH_INSTANCES="4")
    before = await nodes.become_whole()
    # As an upgrade goes: the standbys first, then somebody else is primary, then the one that was.
    for node in nodes.nodes:
        if node != before:
            await world.add_due(organizations=20)
            await both(bill_once(world), restart(nodes, node))
    await world.add_due(organizations=20)
    await both(
        bill_once(world), nodes.control("switchover", "containerstacks", "--master", before.name, "--force")
    )
    await nodes.next_primary(before)
    # Patroni restarts no primary that is still stepping down.
    after = await nodes.become_whole()
    await world.add_due(organizations=20)
    await both(bill_once(world), restart(nodes, before))
    assert await nodes.primary() == after
    connection = await world.nodes.connect()
    runs = await connection.fetch("select status, count(*) as amount from billing_runs group by status")
    await connection.close()
    amounts = {row["status"]: row["amount"] for row in runs}
    record_property("survived", f"a rolling upgrade, with runs {amounts}")
    assert "failed" not in amounts
    await world.verify()
    assert daemon.running, daemon.log


@pytest.mark.timeout(600)
async def test_the_primary_dies_behind_pgbouncer(
    nodes: Cluster, processes: Processes, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async with haproxy(tmp_path) as through, pgbouncer(through) as pooled:
        world = World(nodes, pooled, processes)
        web = await processes.start_web(pooled, DATABASE_LISTEN_URL=nodes.dsn)
        await processes.start_stats_aggregator(pooled, DATABASE_LISTEN_URL=nodes.dsn)
        outcome = await fail_over(world, web=web, fail=Node.kill, within=TRUE_BEHIND_POOLER_SECONDS)
        record_property("survived", f"a primary that was killed behind PgBouncer: {outcome}")
        await world.verify()


async def both(*work: Coroutine[Any, Any, object]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)


async def restart(nodes: Cluster, node: Node) -> None:
    """What a new minor version of PostgreSQL asks for."""
    await nodes.control("restart", "containerstacks", node.name, "--force")
    await nodes.become_whole()


async def bill_once(world: World) -> None:
    """Bill what is due; the daemon tries again what this run could not do without a primary."""
    done = await world.processes.run(
        "containerstacks-billing-daemon", "once", database_url=world.dsn, BILLING_BATCH_INSTANCES="4"
    )
    assert done.exit_code == 0 or any(lost in done.errors for lost in LOST_PRIMARY), done.errors
    await eventually(world.all_billed, PATIENCE_SECONDS)


@dataclass(frozen=True)
class Told:
    failed: Node
    promoted_after: float
    true_after: float
    reported: int

    def __str__(self) -> str:
        return (
            f"another one was promoted after {self.promoted_after:.1f} s, the page was true {self.true_after:.1f} s"
            f" later, and all {self.reported} charges that had been reported are there"
        )


async def fail_over(
    world: World, *, web: Service, fail: Callable[[Node], None], within: float = TRUE_AFTER_SECONDS
) -> Told:
    """Let the primary fail in the middle of a billing run and of changes, and see that nothing is lost or doubled."""
    nodes, loop = world.nodes, asyncio.get_running_loop()
    primary = await nodes.become_whole()
    # Web bills while there is no daemon, and would at once.
    await world.operate("billing", "pause", "--reason", "until the test holds a wallet")
    due = await world.add_due(organizations=12)
    storm = Storm(nodes.dsn, list(due.expected))
    async with open_page(web) as page, reading(page) as seen:
        # The run stops in its middle, at a wallet that somebody holds until the server fails.
        holder, watcher = await nodes.connect(), await nodes.connect()
        await holder.execute("begin")
        await holder.execute("select from wallets where id = $1 for update", due.organizations[6].wallet_id)
        async with storm.blowing():
            daemon = await world.processes.launch(
                "containerstacks-billing-daemon",
                world.dsn,
                BILLING_BATCH_INSTANCES="4",
                DATABASE_LISTEN_URL=nodes.dsn,
            )
            await daemon.ready()
            await world.operate("billing", "resume", "--reason", "the test holds a wallet")
            await session_waiting_for(watcher, holder.get_server_pid(), PATIENCE_SECONDS)
            await eventually(lambda: storm.committed > 10, PATIENCE_SECONDS)
            reported = {row["id"] for row in await watcher.fetch(CYCLES)}
            assert reported

            fail(primary)
            failed_at = loop.time()
            await nodes.next_primary(primary)
            promoted_at, promoted = loop.time(), datetime.now(UTC)
            await eventually(lambda: any(read_at(message) >= promoted for message in seen), within)
            true_at = loop.time()

            # A writer's own statement may wait for its answer from a frozen server for longer.
            before = storm.committed
            await eventually(lambda: storm.committed > before, PATIENCE_SECONDS)
        ended_at = datetime.now(UTC)
        connection = await nodes.connect()
        truth = await statuses(connection)
        await eventually(
            lambda: any(
                truth.items() <= message["vps"]["byStatus"].items() and read_at(message) >= ended_at
                for message in reversed(seen)
            )
        )
        for session in (holder, watcher):
            session.terminate()

    await eventually(world.all_billed, PATIENCE_SECONDS)
    assert reported <= {row["id"] for row in await connection.fetch(CYCLES)}
    assert await storm.matches(connection)
    await connection.close()
    assert daemon.running, daemon.log
    await daemon.terminate()
    return Told(primary, promoted_at - failed_at, true_at - promoted_at, len(reported))


def read_at(message: dict[str, Any]) -> datetime:
    """When the primary was asked for what this message says."""
    return datetime.fromisoformat(message["timestamp"])


@contextlib.asynccontextmanager
async def haproxy(folder: Path) -> AsyncIterator[str]:
    """Give the DSN of whoever is primary, by one address."""
    settings = folder / "haproxy.cfg"
    settings.write_text((SHIPPED / "haproxy.cfg").read_text(encoding="utf-8"), encoding="utf-8")
    process = await asyncio.create_subprocess_exec("/usr/sbin/haproxy", "-db", "-f", settings, stderr=DEVNULL)
    dsn = f"postgresql://postgres:{PASSWORD}@127.0.0.1:5000/postgres"

    # HAProxy takes all three for primaries until it has asked each twice, and passes connections on to them in turn.
    async def leads_to_the_primary_alone() -> bool:
        assert process.returncode is None
        try:
            for _ in range(3):
                connection = await asyncpg.connect(dsn, timeout=5)
                is_standby = await connection.fetchval("select pg_is_in_recovery()", timeout=5)
                await connection.close(timeout=5)
                if is_standby:
                    return False
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        return True

    try:
        await eventually(leads_to_the_primary_alone, PATIENCE_SECONDS)
        yield dsn
    finally:
        process.kill()
        await process.wait()
