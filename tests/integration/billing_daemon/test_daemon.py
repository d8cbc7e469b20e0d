"""The daemon bills at start, beats, obeys a pause, survives a failed run, and says how it ended."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import asyncpg
import pytest
from structlog.testing import capture_logs

from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_billing_daemon.status_file import FileStatus
from containerstacks_shared.billing import charging_loop, control, heartbeat
from containerstacks_shared.billing.documents import ActiveBiller, DaemonState, DaemonStatus
from containerstacks_shared.billing.status import read_daemon_status
from containerstacks_shared.database.locks import LOCK_CLASS, Role, holder_name
from support import charges, fleet
from support.daemons import Daemon, Start
from support.waiting import eventually

INTERVAL = timedelta(hours=1)
RUNS = "select trigger, status from billing_runs order by id"
OWN_ROW = "select * from billing_daemon_status where daemon_instance_id = $1"
LEADER_SESSION = (
    "select pid from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2 and granted"
)


def runs(connection: asyncpg.Connection, *expected: tuple[str, str]) -> Callable[[], Awaitable[bool]]:
    """Whether exactly these runs were recorded, by trigger and status."""

    async def recorded() -> bool:
        assert [tuple(row) for row in await connection.fetch(RUNS)] == list(expected)
        return True

    return recorded


def written(daemon: Daemon, status: FileStatus) -> Callable[[], bool]:
    def told() -> bool:
        document = daemon.file()
        return document is not None and document.status is status and document.last_run is not None

    return told


async def public_status(connection: asyncpg.Connection) -> DaemonStatus:
    return await read_daemon_status(connection, interval=INTERVAL)


async def test_it_bills_at_start_and_tells_everybody(start: Start, connection: asyncpg.Connection) -> None:
    due = await charges.add_due_fleet(connection, organizations=2, instances=3, hours=2)

    async with start() as daemon:
        await eventually(written(daemon, FileStatus.RUNNING))

        assert await charges.hours_billed(connection) == due.expected
        status = await public_status(connection)
        assert (status.status, status.active_biller) == (DaemonState.RUNNING, ActiveBiller.DAEMON)
        assert (status.instances_billed, status.last_run_success) == (6, True)
        row = await connection.fetchrow(OWN_ROW, holder_name())
        assert row is not None
        assert (row["status"], row["last_run_success"], row["instances_billed"]) == ("running", True, 6)
        assert (row["total_hours"], row["total_amount"]) == (12, Decimal("0.12"))
        document = daemon.file()
        assert document is not None
        assert (document.instances_billed, document.total_hours) == (6, Decimal(12))
        assert document.last_successful_run == status.last_successful_run
        started_at = await connection.fetchval("select max(started_at) from billing_runs")
        assert document.next_scheduled_run == started_at + INTERVAL
        assert await daemon.metric("containerstacks_billing_leader") == 1
        assert await daemon.metric("containerstacks_billing_last_success_timestamp_seconds") > 0


async def test_it_is_ready_when_it_can_hear_and_ask(start: Start) -> None:
    async with start() as daemon:
        await eventually(daemon.is_ready)
        assert (await daemon.client.get("/healthz")).status == 200


async def test_a_clean_stop_is_recorded_and_keeps_the_last_run(
    start: Start, connection: asyncpg.Connection
) -> None:
    await charges.add_due_fleet(connection, organizations=1, instances=1)
    async with start() as daemon:
        await eventually(written(daemon, FileStatus.RUNNING))

    document = daemon.file()
    assert document is not None
    assert (document.status, document.next_scheduled_run) == (FileStatus.STOPPED, None)
    assert document.last_successful_run is not None
    row = await connection.fetchrow(OWN_ROW, holder_name())
    assert row is not None
    assert (row["status"], row["heartbeat_at"], row["last_run_success"]) == ("stopped", None, True)
    status = await public_status(connection)
    assert (status.status, status.active_biller) == (DaemonState.STOPPED, ActiveBiller.NONE)


async def test_the_heart_beats_while_a_run_is_in_progress(
    start: Start, connection: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_INTERVAL", timedelta(seconds=0.05))
    due = await charges.add_due_fleet(connection, organizations=1, instances=1)
    async with start() as daemon:
        async with charges.wallet_locked(database_url, due.organizations[0]):
            await eventually(runs(connection, ("start", "running")))
            before = await connection.fetchval("select heartbeat_at from billing_daemon_status")
            await eventually(lambda: beaten_since(connection, before))
        await eventually(written(daemon, FileStatus.RUNNING))
    assert await charges.hours_billed(connection) == due.expected


async def beaten_since(connection: asyncpg.Connection, before: object) -> bool:
    return bool(await connection.fetchval("select heartbeat_at > $1 from billing_daemon_status", before))


async def test_a_pause_is_obeyed_and_logged_once_and_its_end_is_heard(
    start: Start, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charging_loop, "_LOOK_AGAIN_SECONDS", 0.05)
    due = await charges.add_due_fleet(connection, organizations=1, instances=1)
    await control.pause(connection, reason="stocktaking", author="a test")

    with capture_logs() as logs:
        async with start() as daemon:
            await eventually(lambda: paused(daemon))
            assert await charges.hours_billed(connection) == {}
            monkeypatch.setattr(charging_loop, "_LOOK_AGAIN_SECONDS", 30.0)
            await control.resume(connection, reason="done", author="a test")
            await eventually(written(daemon, FileStatus.RUNNING))

    assert await charges.hours_billed(connection) == due.expected
    events = [entry["event"] for entry in logs]
    assert (events.count("charging.paused"), events.count("charging.resumed")) == (1, 1)
    assert await runs(connection, ("start", "succeeded"))()


async def paused(daemon: Daemon) -> bool:
    return await daemon.metric("containerstacks_billing_paused") == 1


async def test_a_failed_run_is_recorded_and_retried_at_the_next_cycle(
    start: Start,
    connection: asyncpg.Connection,
    settings: BillingDaemonSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=1)
    monkeypatch.setattr(type(settings), "billing_interval", timedelta(seconds=1))
    await connection.execute(
        "alter table vps_billing_cycles add constraint refused check (total_amount < 0) not valid"
    )

    async with start() as daemon:
        await eventually(written(daemon, FileStatus.ERROR))
        assert (await public_status(connection)).status is DaemonState.ERROR
        row = await connection.fetchrow(OWN_ROW, holder_name())
        assert row is not None
        assert row["last_run_success"] is False
        assert "refused" in row["error_message"]

        await connection.execute("alter table vps_billing_cycles drop constraint refused")
        await eventually(written(daemon, FileStatus.RUNNING))

    assert await charges.hours_billed(connection) == due.expected
    recorded = [tuple(row) for row in await connection.fetch(RUNS)]
    assert (recorded[0], recorded[-1]) == (("start", "failed"), ("schedule", "succeeded"))


async def test_a_run_that_cannot_even_begin_is_a_failed_run(
    start: Start, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into billing_runs (biller, trigger, holder, term, started_at, finished_at, status)"
        " values ('daemon', 'start', 'the future', 0, now() + interval '1 day', now() + interval '1 day', 'succeeded')"
    )
    with capture_logs() as logs:
        async with start() as daemon:
            await eventually(written(daemon, FileStatus.ERROR))
    assert [entry["event"] for entry in logs].count("charging.failed") == 1


async def test_money_that_arrives_settles_a_debt_between_two_runs(
    start: Start, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection, balance="0.00")
    instance = await fleet.add_instance(
        connection, organization, await fleet.add_plan(connection), hours_due=3
    )
    async with start() as daemon:
        await eventually(written(daemon, FileStatus.RUNNING))
        assert await charges.hours_billed(connection) == {}

        await connection.execute(
            "update wallets set balance = balance + 1 where organization_id = $1", organization.id
        )
        await eventually(lambda: settled(connection))

    assert await charges.hours_billed(connection) == {instance: 3}
    assert await runs(connection, ("start", "succeeded"), ("top_up", "succeeded"))()


async def settled(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("select settled_at is not null from vps_debts"))


async def test_a_daemon_whose_session_dies_leads_again_and_bills_at_once(
    start: Start, connection: asyncpg.Connection
) -> None:
    async with start() as daemon:
        await eventually(written(daemon, FileStatus.RUNNING))
        leader = await connection.fetchval(LEADER_SESSION, LOCK_CLASS, Role.BILLING_DAEMON.number)
        await connection.execute("select pg_terminate_backend($1)", leader)

        await eventually(runs(connection, ("start", "succeeded"), ("start", "succeeded")))
        assert (await public_status(connection)).status is DaemonState.RUNNING


async def test_a_second_daemon_stands_by_and_takes_over(start: Start, connection: asyncpg.Connection) -> None:
    async with start() as first:
        await eventually(written(first, FileStatus.RUNNING))
        due = await charges.add_due_fleet(connection, organizations=1, instances=1)
        async with start() as second:
            await eventually(second.is_ready)
            assert await charges.hours_billed(connection) == {}
            leader = await connection.fetchval(LEADER_SESSION, LOCK_CLASS, Role.BILLING_DAEMON.number)
            await connection.execute("select pg_terminate_backend($1)", leader)
            await eventually(runs(connection, ("start", "succeeded"), ("start", "succeeded")))
    assert await charges.hours_billed(connection) == due.expected


async def test_the_schedule_goes_on_from_the_last_run_in_the_database(
    start: Start,
    connection: asyncpg.Connection,
    settings: BillingDaemonSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(settings), "billing_interval", timedelta(seconds=0.3))
    async with start():
        await eventually(lambda: scheduled_runs(connection, at_least=2))
    rows = await connection.fetch("select trigger, started_at from billing_runs order by id")
    assert rows[0]["trigger"] == "start"
    for earlier, later in pairwise(rows):
        assert later["trigger"] == "schedule"
        assert later["started_at"] - earlier["started_at"] >= timedelta(seconds=0.3)


async def scheduled_runs(connection: asyncpg.Connection, *, at_least: int) -> bool:
    count: int = await connection.fetchval("select count(*) from billing_runs where trigger = 'schedule'")
    return count >= at_least
