"""The daemon bills at start, beats, obeys a pause, survives a failed run, and says how it ended."""

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import asyncpg
import pytest
from structlog.testing import capture_logs

from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_billing_daemon.status_file import FileStatus, StatusFile
from containerstacks_shared.billing import charging_loop, control
from containerstacks_shared.billing.documents import ActiveBiller, DaemonState, DaemonStatus
from containerstacks_shared.billing.status import read_daemon_status
from containerstacks_shared.database.locks import LOCK_CLASS, Role, holder_name
from support import charges
from support.daemons import Daemon, Start
from support.waiting import becomes, eventually

INTERVAL = timedelta(hours=1)
OWN_ROW = "select * from billing_daemon_status where daemon_instance_id = $1"
LEADER_SESSION = (
    "select pid from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2 and granted"
)


def written(daemon: Daemon, status: FileStatus) -> Callable[[], bool]:
    def has_status() -> bool:
        document = daemon.file()
        return document is not None and document.status is status and document.last_run is not None

    return has_status


async def public_status(connection: asyncpg.Connection) -> DaemonStatus:
    return await read_daemon_status(connection, interval=INTERVAL)


async def test_it_bills_at_start_and_reports_it_everywhere(
    start: Start, connection: asyncpg.Connection
) -> None:
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
        assert document.last_successful_run is not None
        await becomes(
            lambda: daemon.metric("containerstacks_billing_last_success_timestamp_seconds"),
            document.last_successful_run.timestamp(),
        )


async def test_its_metric_shows_a_pause_until_it_ends(
    start: Start, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charging_loop, "_LOOK_AGAIN_SECONDS", 0.05)
    await charges.add_due_fleet(connection, organizations=1, instances=1)
    await control.pause(connection, reason="stocktaking", author="a test")
    async with start() as daemon:
        await becomes(lambda: daemon.metric("containerstacks_billing_paused"), 1)
        await control.resume(connection, reason="done", author="a test")
        await eventually(written(daemon, FileStatus.RUNNING))
        await becomes(lambda: daemon.metric("containerstacks_billing_paused"), 0)


async def test_it_is_ready_when_it_listens_and_has_a_database(start: Start) -> None:
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


async def test_a_daemon_that_stops_leaves_the_status_file_to_its_successor(start: Start) -> None:
    async with start() as daemon:
        await eventually(lambda: (file := daemon.file()) is not None and file.next_scheduled_run is not None)
        ours = daemon.file()
        assert ours is not None
        successors = ours.model_copy(update={"instance_id": "successor-1", "pid": 1})
        StatusFile(daemon.path).write(successors)
    assert daemon.file() == successors


async def test_a_disk_that_hangs_delays_the_status_file_alone(
    start: Start, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=1)
    fsync, goes_on = os.fsync, threading.Event()

    def hang(descriptor: int) -> None:
        goes_on.wait()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", hang)
    try:
        async with start() as daemon:
            await becomes(lambda: charges.hours_billed(connection), due.expected)
        assert daemon.file() is None
    finally:
        goes_on.set()
    # The oldest write was the first to begin, and the newest document stands.
    await eventually(written(daemon, FileStatus.STOPPED))


async def test_a_run_that_cannot_begin_is_a_failed_run(start: Start, connection: asyncpg.Connection) -> None:
    await connection.execute(
        "insert into billing_runs (biller, trigger, holder, term, started_at, finished_at, status)"
        " values ('daemon', 'start', 'the future', 0, now() + interval '1 day', now() + interval '1 day', 'succeeded')"
    )
    with capture_logs() as logs:
        async with start() as daemon:
            await eventually(written(daemon, FileStatus.ERROR))
    assert [entry["event"] for entry in logs].count("charging.failed") == 1


async def test_a_standby_daemon_takes_over(start: Start, connection: asyncpg.Connection) -> None:
    async with start() as first:
        await eventually(written(first, FileStatus.RUNNING))
        due = await charges.add_due_fleet(connection, organizations=1, instances=1)
        async with start() as second:
            await eventually(second.is_ready)
            assert await charges.hours_billed(connection) == {}
            leader = await connection.fetchval(LEADER_SESSION, LOCK_CLASS, Role.BILLING_DAEMON.number)
            await connection.execute("select pg_terminate_backend($1)", leader)
            await becomes(lambda: charges.runs(connection), [("daemon", "start", "succeeded")] * 2)
    assert await charges.hours_billed(connection) == due.expected


async def test_the_schedule_continues_from_the_last_run_in_the_database(
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
