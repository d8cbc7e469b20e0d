"""Both billers behave alike: each test runs with the daemon and with web's built-in biller."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from containerstacks_shared.billing import charging_loop, control, heartbeat, run, stall_watch
from containerstacks_shared.database.db import Connection
from containerstacks_shared.database.locks import Leadership, Role
from containerstacks_shared.database.notify import Channel, Hint, Subscription
from support import charges, fleet, promises
from support.billers import KINDS, biller
from support.billing import in_the_way
from support.waiting import becomes, eventually, session_waiting_for

Start = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(kind: str, database_url: str, tmp_path: Path) -> Start:
    return partial(biller, kind, database_url, tmp_path)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how many seconds the charging loop was ready to wait for a hint, each time."""
    seconds: list[float] = []
    wait = Subscription.wait

    async def listen(heard: Subscription, timeout: float) -> frozenset[Hint]:  # noqa: ASYNC109
        if Channel.WALLET_TOPPED_UP in heard._channels:
            seconds.append(timeout)
        return await wait(heard, timeout)

    monkeypatch.setattr(Subscription, "wait", listen)
    return seconds


async def test_a_run_that_waits_for_another_begins_as_soon_as_that_ends(
    kind: str,
    start: Start,
    database_url: str,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Five minutes ago there was a run, so the schedule alone would have the next one wait for 55.
    await connection.execute(
        "insert into billing_runs (biller, trigger, holder, term, status, started_at, finished_at)"
        " values ($1, 'schedule', 'x', 0, 'succeeded', clock_now() - interval '5 min', clock_now() - interval '5 min')",
        kind,
    )
    due = await charges.add_due_fleet(connection, organizations=1)
    monkeypatch.setattr(charging_loop, "_LOCK_SECONDS", 0.2)
    async with Leadership(database_url, Role.BILLING_RUN, service="tests") as other:
        assert await other.try_acquire() is not None
        with capture_logs() as logs:
            async with start():
                await eventually(lambda: any(entry["event"] == "charging.busy" for entry in logs))
                await other.release()
                await becomes(
                    lambda: charges.hours_billed(connection),
                    due.expected,
                    promises.BILLED_AFTER_ANOTHER_SECONDS,
                )
    assert (await charges.runs(connection))[1:] == [(kind, "start", "succeeded")]


async def test_a_pause_is_logged_once_and_the_delayed_run_begins_when_it_ends(
    kind: str,
    start: Start,
    connection: asyncpg.Connection,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await control.pause(connection, reason="stocktaking", author="a test")
    due = await charges.add_due_fleet(connection, organizations=1)
    monkeypatch.setattr(charging_loop, "_LOOK_AGAIN_SECONDS", 0.05)
    with capture_logs() as logs:
        async with start():
            await eventually(lambda: len(waits) > 3)
            assert await charges.hours_billed(connection) == {}
            assert await charges.runs(connection) == []
            monkeypatch.setattr(charging_loop, "_LOOK_AGAIN_SECONDS", 30.0)
            await control.resume(connection, reason="done", author="a test")
            await becomes(lambda: charges.runs(connection), [(kind, "start", "succeeded")])
            await becomes(lambda: charges.hours_billed(connection), due.expected)
    events = [entry["event"] for entry in logs]
    assert (events.count("charging.paused"), events.count("charging.resumed")) == (1, 1)


async def test_the_heartbeat_continues_while_a_run_waits(
    start: Start, database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_INTERVAL", timedelta(seconds=0.05))
    due = await charges.add_due_fleet(connection, organizations=1)
    async with start():
        async with charges.wallet_locked(database_url, due.organizations[0]) as holder:
            await session_waiting_for(connection, holder)
            first = await connection.fetchval("select heartbeat_at from billing_daemon_status")
            await eventually(lambda: beaten_since(connection, first))
            await session_waiting_for(connection, holder)
        await becomes(lambda: charges.hours_billed(connection), due.expected)


async def test_beats_that_are_missed_in_a_row_are_logged_once(
    start: Start, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = 0
    beat = heartbeat.Heartbeat.beat

    async def counted(beating: heartbeat.Heartbeat) -> None:
        nonlocal beats
        beats += 1
        await beat(beating)

    monkeypatch.setattr(heartbeat, "BEAT_INTERVAL", timedelta(seconds=0.02))
    monkeypatch.setattr(heartbeat.Heartbeat, "beat", counted)
    with capture_logs() as logs:
        async with start():
            await eventually(lambda: beats)
            await connection.execute("alter table billing_daemon_status rename to elsewhere")
            beats = 0
            await eventually(lambda: beats >= 5)
            await connection.execute("alter table elsewhere rename to billing_daemon_status")
    assert [entry["event"] for entry in logs].count("heartbeat.missed") == 1


async def beaten_since(connection: asyncpg.Connection, moment: datetime) -> bool:
    return bool(await connection.fetchval("select heartbeat_at > $1 from billing_daemon_status", moment))


async def test_a_biller_that_lost_its_sessions_leads_again_and_bills_at_once(
    kind: str, start: Start, connection: asyncpg.Connection
) -> None:
    async with start():
        await becomes(lambda: charges.runs(connection), [(kind, "start", "succeeded")])
        due = await charges.add_due_fleet(connection, organizations=1)
        terms = await connection.fetch("select role, term from leaderships where holder is not null")
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        await becomes(lambda: charges.hours_billed(connection), due.expected, promises.SUCCEEDED_SECONDS)
        await becomes(lambda: charges.runs(connection), [(kind, "start", "succeeded")] * 2)
    assert await connection.fetch("select role, term from leaderships where holder is not null") > terms


async def test_between_runs_it_waits_for_hints(start: Start, waits: list[float]) -> None:
    async with start():
        await eventually(lambda: waits and max(waits) >= charging_loop._LOOK_AGAIN_SECONDS)


async def test_a_flood_of_top_ups_is_checked_five_times_a_second(
    start: Start, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    async def look(looking: Connection) -> bool:
        looks.append(asyncio.get_running_loop().time())
        return await run.is_debt_payable(looking)

    async def flood() -> bool:
        await connection.execute("select pg_notify($1, '')", Channel.WALLET_TOPPED_UP.value)
        return len(looks) >= 4

    monkeypatch.setattr(charging_loop, "is_debt_payable", look)
    async with start():
        await eventually(flood)
    assert min(later - earlier for earlier, later in pairwise(looks)) >= charging_loop._SPACING_SECONDS


async def test_the_money_is_audited_after_the_first_run(start: Start, connection: asyncpg.Connection) -> None:
    await charges.add_due_fleet(connection, organizations=1)
    async with start():
        await eventually(
            lambda: connection.fetchval("select count(*) from billing_audits where findings_own = 0")
        )


async def test_a_stall_is_reported(
    start: Start, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall_watch, "_PAUSE_SECONDS_MIN", 0.02)
    monkeypatch.setattr(stall_watch, "_PAUSE_PER_LOOK", 0.0)
    await charges.add_due_fleet(connection, organizations=1, hours=5)
    await charges.refuse_cycles(connection)
    with capture_logs() as logs:
        async with start():
            await eventually(lambda: any(entry["event"] == "progress.stalled" for entry in logs))


# A run that failed ------------------------------------------------------------------------------


async def test_a_run_that_lost_its_session_is_retried_at_once(
    kind: str, start: Start, database_url: str, connection: asyncpg.Connection
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1)
    async with start():
        async with charges.wallet_locked(database_url, due.organizations[0]) as holder:
            victim = await session_waiting_for(connection, holder)
            await connection.execute("select pg_terminate_backend($1)", victim)
            await eventually(lambda: failed_once(connection))
        await becomes(lambda: charges.hours_billed(connection), due.expected)
    recorded = await charges.runs(connection)
    assert (recorded[0], recorded[-1]) == ((kind, "start", "failed"), (kind, "start", "succeeded"))


async def test_a_run_that_timed_out_on_locks_is_retried_at_once(
    kind: str,
    start: Start,
    database_url: str,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("containerstacks_shared.billing.run._LOCK_WAIT_MAX", "50ms")
    due = await charges.add_due_fleet(connection, organizations=1)
    async with start():
        async with charges.wallet_locked(database_url, due.organizations[0]):
            await eventually(lambda: failed_once(connection))
        await becomes(lambda: charges.hours_billed(connection), due.expected)
    recorded = await charges.runs(connection)
    assert (recorded[0], recorded[-1]) == ((kind, "start", "failed"), (kind, "start", "succeeded"))


async def test_a_run_with_a_lasting_error_is_reported_and_waits_for_the_next_cycle(
    kind: str, start: Start, connection: asyncpg.Connection, waits: list[float]
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1)
    await charges.refuse_cycles(connection)
    async with start():
        await eventually(lambda: failed_once(connection))
        await eventually(lambda: waits and max(waits) >= charging_loop._LOOK_AGAIN_SECONDS)
        assert await charges.runs(connection) == [(kind, "start", "failed")]
        recorded = await connection.fetchrow(
            "select last_run_success, error_message from billing_daemon_status"
        )
        assert recorded is not None
        assert recorded["last_run_success"] is False
        assert "vps_billing_cycles" in recorded["error_message"]
        # The next cycle comes: the run was an hour ago.
        await connection.execute("alter table vps_billing_cycles drop constraint refused")
        await connection.execute("update billing_runs set started_at = started_at - interval '1 hour'")
        await connection.execute("select pg_notify($1, '')", Channel.BILLING_CHANGED.value)
        await becomes(
            lambda: charges.runs(connection), [(kind, "start", "failed"), (kind, "schedule", "succeeded")]
        )
    assert await charges.hours_billed(connection) == due.expected


async def test_a_settlement_that_lost_its_session_is_retried_without_another_hint(
    start: Start, database_url: str, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection, balance="0.00")
    instance = await fleet.add_instance(
        connection, organization, await fleet.add_plan(connection), hours_due=2
    )
    async with start():
        await becomes(lambda: open_debts(connection), 1)
        waiting = "select from vps_instances where id = $1 for update"
        async with in_the_way(database_url, waiting, instance) as holder:
            await connection.execute("update wallets set balance = balance + 10")
            victim = await session_waiting_for(connection, holder.get_server_pid())
            await connection.execute("select pg_terminate_backend($1)", victim)
        await becomes(lambda: open_debts(connection), 0)
    assert await charges.hours_billed(connection) == {instance: 2}


async def open_debts(connection: asyncpg.Connection) -> int:
    count: int = await connection.fetchval("select count(*) from vps_debts where settled_at is null")
    return count


async def failed_once(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("select exists (select from billing_runs where status = 'failed')"))
