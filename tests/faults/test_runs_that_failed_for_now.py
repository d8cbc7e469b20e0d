"""A run whose backend stands still, or is ended, is made again within a minute, and not an interval later.

When that fails too, again and again, the pauses grow, also when each failure takes the whole server and the term along.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import asyncpg
import pytest

from containerstacks_shared.billing import run
from containerstacks_shared.billing.verify import Severity, verify
from containerstacks_shared.database.db import UNAVAILABLE
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from support import charges, databases, roles
from support.billers import KINDS, biller
from support.billing import in_the_way
from support.waiting import LIMIT_SECONDS, eventually, session_waiting_for

# Batches are given up after half a minute.
GIVEN_UP_SECONDS = run._BATCH_SECONDS + LIMIT_SECONDS
# A prepared transaction and its locks outlive the server's crashes. It has no process: its pid is 0.
WAITING = """
select pid, clock_timestamp() as now from pg_stat_activity
 where 0 = any (pg_blocking_pids(pid)) and pid <> all ($1::integer[])
 limit 1
"""
PAUSES_SECONDS = (1.0, 2.0, 4.0)
RUNS = "select status, trigger, error_message, started_at, finished_at from billing_runs order by id"


@pytest.fixture
async def connection(own_postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """Give a session on a server of its own: others on the server of a stopped backend would wait for it."""
    await asyncio.to_thread(migrate, own_postgres.dsn())
    roles.grant(own_postgres.dsn())
    connection = await databases.connect(own_postgres.dsn())
    yield connection
    await connection.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [SIGSTOP, SIGTERM], ids=["frozen", "ended"])
async def test_a_run_that_lost_its_backend_is_made_again_within_a_minute(
    own_postgres: EmbeddedPostgres,
    connection: asyncpg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kind: str,
    fault: int,
) -> None:
    if kind == "builtin":
        # The daemon proves the real limit; it is the engine's, so that of the other one is no other.
        monkeypatch.setattr(run, "_BATCH_SECONDS", 2.0)
    dsn = own_postgres.dsn()
    due = await charges.add_due_fleet(connection, organizations=3, instances=2, hours=2)
    last = due.instances[due.organizations[-1].id][0]
    async with biller(kind, dsn, tmp_path):
        # It begins a run at once, and meets us in its middle.
        async with in_the_way(dsn, "select from vps_instances where id = $1 for update", last) as holder:
            victim = await session_waiting_for(connection, holder.get_server_pid())
            os.kill(victim, fault)
        if fault == SIGSTOP:
            await eventually(ended(connection, "failed"), GIVEN_UP_SECONDS, pause=0.2)
            os.kill(victim, SIGCONT)
        await eventually(ended(connection, "succeeded"), pause=0.1)
    first, *_, again = await connection.fetch(RUNS)
    assert first["status"] == "failed"
    assert again["started_at"] - first["finished_at"] < timedelta(minutes=1)
    assert await charges.hours_billed(connection) == due.expected
    assert [each for each in await verify(connection) if each.severity is Severity.OWN] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [SIGTERM, SIGKILL], ids=["its backend is ended", "the server crashes"])
async def test_runs_that_fail_one_after_the_other_are_made_again_after_growing_pauses(
    tmp_path: Path, kind: str, fault: int
) -> None:
    # A run that is on record stays there when the server crashes.
    settings = {"max_prepared_transactions": "1", "synchronous_commit": "on"}
    with databases.embedded_postgres(settings) as postgres:
        dsn = postgres.start()
        await asyncio.to_thread(migrate, dsn)
        roles.grant(dsn)
        connection = await databases.connect(dsn)
        due = await charges.add_due_fleet(connection, organizations=3, instances=2, hours=2)
        await connection.execute(
            "begin; select from vps_instances for update; prepare transaction 'in the way'"
        )
        await connection.close()
        async with biller(kind, dsn, tmp_path):
            struck: dict[int, datetime] = {}
            for _ in PAUSES_SECONDS:
                victim, now = await next_that_waits(dsn, after=list(struck))
                os.kill(victim, fault)
                struck[victim] = now
            await next_that_waits(dsn, after=list(struck))
            connection = await databases.connect(dsn)
            await connection.execute("commit prepared 'in the way'")
            await eventually(ended(connection, "succeeded"), pause=0.1)
            assert await charges.hours_billed(connection) == due.expected
            runs = await connection.fetch(RUNS)
            await connection.close()
    *failed, last = [run["status"] for run in runs]
    # One that a crash kept from saying that it failed is closed by the next.
    assert set(failed) <= {"failed", "interrupted"}
    assert last == "succeeded"
    for moment, again, pause in zip(struck.values(), runs[1:], PAUSES_SECONDS, strict=True):
        assert timedelta(seconds=pause) <= again["started_at"] - moment < timedelta(minutes=1)


async def next_that_waits(dsn: str, *, after: list[int]) -> tuple[int, datetime]:
    """Wait until another backend waits for the prepared transaction; tell which, and when that was."""

    async def found() -> tuple[int, datetime] | None:
        try:
            connection = await databases.connect(dsn)
            row = await connection.fetchrow(WAITING, after)
            await connection.close()
        except UNAVAILABLE:
            # The server is recovering.
            return None
        return None if row is None else (row["pid"], row["now"])

    return await eventually(found)


def ended(connection: asyncpg.Connection, status: str) -> Callable[[], object]:
    async def asked() -> bool:
        return bool(await connection.fetchval("select count(*) from billing_runs where status = $1", status))

    return asked
