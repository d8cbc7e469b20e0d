"""The active biller audits the money once a day, between two runs."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_shared.billing import control, daily_audit
from containerstacks_shared.billing.status import read_daemon_details
from containerstacks_shared.billing.term_observer import TermObserver
from containerstacks_shared.database import db
from support import charges
from support.clock import shift_clock
from support.daemons import Daemon, Start
from support.waiting import eventually, looks_by

INTERVAL = timedelta(hours=1)
FINISHED = "select finished_at from billing_audits where finished_at is not null order by id"


@pytest.fixture
def settings(database_url: str) -> BillingDaemonSettings:
    return BillingDaemonSettings(database_url=SecretStr(database_url), test_clock=True)


async def audited(connection: asyncpg.Connection, daemon: Daemon, *, times: int) -> bool:
    finished = await connection.fetch(FINISHED)
    assert len(finished) == times
    # Earlier daemons of this process left their own figures behind.
    timestamp = await daemon.metric("containerstacks_billing_audit_timestamp_seconds")
    return timestamp == pytest.approx(finished[-1]["finished_at"].timestamp())


async def test_the_first_audit_follows_the_first_run_and_the_next_comes_a_day_later(
    start: Start, connection: asyncpg.Connection
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=2)
    async with start() as daemon:
        await eventually(lambda: audited(connection, daemon, times=1))
        assert await daemon.metric("containerstacks_billing_audit_findings") == 0
    assert await charges.hours_billed(connection) == due.expected
    details = await read_daemon_details(connection, interval=INTERVAL)
    assert details.audit is not None
    assert (details.audit.full, details.audit.findings) == (True, 0)

    # A restart is no reason for another one; a day is.
    await shift_clock(connection, timedelta(hours=23))
    async with start() as daemon:
        await eventually(lambda: runs_ended(connection, at_least=2))
        await eventually(lambda: audited(connection, daemon, times=1))
    await shift_clock(connection, timedelta(hours=25))
    async with start() as daemon:
        await eventually(lambda: audited(connection, daemon, times=2))
    assert [
        row["is_full"] for row in await connection.fetch("select is_full from billing_audits order by id")
    ] == [
        True,
        False,
    ]


async def runs_ended(connection: asyncpg.Connection, *, at_least: int) -> bool:
    ended: int = await connection.fetchval("select count(*) from billing_runs where status = 'succeeded'")
    return ended >= at_least


async def test_what_an_audit_finds_is_logged_measured_and_shown_to_administrators(
    start: Start, connection: asyncpg.Connection
) -> None:
    await charges.add_due_fleet(connection, organizations=1, instances=1)
    await connection.execute("update wallets set balance = balance - 5")
    with capture_logs() as logs:
        async with start() as daemon:
            await eventually(lambda: audited(connection, daemon, times=1))
            assert await daemon.metric("containerstacks_billing_audit_findings") == 1
            assert await daemon.is_ready()
    (finished,) = [entry for entry in logs if entry["event"] == "audit.finished"]
    assert (finished["log_level"], finished["findings"]) == ("error", 1)
    details = await read_daemon_details(connection, interval=INTERVAL)
    assert details.audit is not None
    assert details.audit.findings == 1


async def test_no_audit_begins_during_a_run(
    start: Start, connection: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daily_audit, "_LOOK_SECONDS", 0.02)
    looks = looks_by(monkeypatch, daily_audit.DailyAudit, "_audit_when_due")
    due = await charges.add_due_fleet(connection, organizations=1, instances=1)
    async with start() as daemon:
        async with charges.wallet_locked(database_url, due.organizations[0]):
            await eventually(lambda: connection.fetchval("select count(*) from billing_runs"))
            await looks.more(3)
            assert await connection.fetchval("select count(*) from billing_audits") == 0
        await eventually(lambda: audited(connection, daemon, times=1))


@pytest.mark.parametrize(("minutes", "quiet"), [(20, True), (40, False)])
async def test_an_audit_begins_in_the_first_half_of_an_interval(
    pool: db.Pool, connection: asyncpg.Connection, minutes: int, *, quiet: bool
) -> None:
    await connection.execute(
        "insert into billing_runs (biller, trigger, holder, term, started_at, finished_at, status)"
        " values ('daemon', 'schedule', 'tests', 1, now() - $1::interval, now() - $1::interval, 'succeeded')",
        timedelta(minutes=minutes),
    )
    audit = daily_audit.DailyAudit(pool, TermObserver(), interval=INTERVAL)
    assert (await audit._quiet_time(connection) is not None) is quiet


async def test_an_audit_sees_a_first_run_that_starts_while_it_looks(
    pool: db.Pool, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def followed_by_the_run(look: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def followed(*arguments: object, **options: object) -> object:
            found = await look(*arguments, **options)
            await connection.execute(
                "insert into billing_runs (biller, trigger, holder, term) select 'daemon', 'start', 'tests', 1"
                " where not exists (select from billing_runs)"
            )
            return found

        return followed

    for name in ("run_is_under_way", "read_next_run"):
        monkeypatch.setattr(daily_audit, name, followed_by_the_run(getattr(daily_audit, name)))
    audit = daily_audit.DailyAudit(pool, TermObserver(), interval=INTERVAL)
    assert await audit._quiet_time(connection) is None


async def test_an_audit_that_takes_too_long_is_cancelled_and_not_repeated_at_once(
    start: Start, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(audited_with: db.Connection) -> None:
        await audited_with.execute("insert into billing_audits (is_full) values (true)")
        await asyncio.Event().wait()

    monkeypatch.setattr(daily_audit, "audit", endless)
    monkeypatch.setattr(daily_audit, "_LASTS_MAX", timedelta(seconds=0.05))
    monkeypatch.setattr(daily_audit, "_LOOK_SECONDS", 0.02)
    with capture_logs() as logs:
        async with start() as daemon:
            await eventually(lambda: [entry for entry in logs if entry["event"] == "audit.cut_off"])
            due = await charges.add_due_fleet(connection, organizations=1, instances=1)
            await connection.execute("update billing_runs set started_at = started_at - interval '1 hour'")
            await control.resume(connection, reason="a hint", author="tests")
            await eventually(lambda: runs_ended(connection, at_least=2))
            assert await daemon.is_ready()
    assert await charges.hours_billed(connection) == due.expected
    assert await connection.fetchval("select count(*) from billing_audits") == 1


async def test_an_audit_that_fails_does_not_end_billing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_connection: db.Connection) -> None:
        raise ArithmeticError("wrong")

    monkeypatch.setattr(daily_audit, "audit", broken)
    with capture_logs() as logs:
        async with start() as daemon:
            await eventually(lambda: [entry for entry in logs if entry["event"] == "audit.failed"])
            assert await daemon.is_ready()
