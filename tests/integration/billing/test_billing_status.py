"""What is said about the daemon: unknown, running, error, stopped; and when to worry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from containerstacks_shared.billing import control
from containerstacks_shared.billing.documents import Biller, DaemonDetails, DaemonStatus, RunTrigger
from containerstacks_shared.billing.heartbeat import STALE_AFTER, Heartbeat
from containerstacks_shared.billing.status import (
    is_daemon_alive,
    overdue_after,
    read_daemon_details,
    read_daemon_status,
)
from containerstacks_shared.core.errors import ChangeRefused
from containerstacks_shared.database.locks import Leadership, Role
from support.billing import Billing
from support.clock import clock_now
from support.fleet import Organization

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@asynccontextmanager
async def alive(billing: Billing, biller: Biller = Biller.DAEMON) -> AsyncIterator[Heartbeat]:
    role = Role.BILLING_DAEMON if biller is Biller.DAEMON else Role.BUILTIN_BILLING
    async with Leadership(billing.dsn, role, service="tests", holder=f"{biller}-1") as leadership:
        term = await leadership.try_acquire()
        assert term is not None
        heartbeat = Heartbeat(billing.pool, biller, term, interval=2 * HOUR)
        await heartbeat.register()
        yield heartbeat
        await leadership.release()
        await heartbeat.deregister()


async def status(billing: Billing) -> DaemonStatus:
    return await read_daemon_status(billing.connection, interval=HOUR)


async def details(billing: Billing) -> DaemonDetails:
    return await read_daemon_details(billing.connection, interval=HOUR)


async def test_a_daemon_that_was_never_seen_is_unknown(billing: Billing) -> None:
    assert await status(billing) == DaemonStatus()
    found = await details(billing)
    assert found == DaemonDetails(owed_as_of=found.owed_as_of)


async def test_a_daemon_that_holds_its_lock_and_beats_is_running(billing: Billing) -> None:
    async with alive(billing):
        await billing.run()
        seen = await status(billing)
        assert await is_daemon_alive(billing.connection)
    assert (seen.status, seen.active_biller) == ("running", "daemon")
    assert (seen.is_stale, seen.warning_threshold_exceeded) == (False, False)
    assert (seen.last_run_by, seen.last_run_success, seen.uptime_minutes) == ("daemon", True, 0)


async def test_a_daemon_whose_last_run_failed_is_in_error_until_one_succeeds(billing: Billing) -> None:
    await billing.add_instance(hours_due=1)
    await billing.connection.execute("alter table vps_billing_cycles add constraint full_disk check (false)")
    async with alive(billing):
        await billing.run()
        failed = await details(billing)
        await billing.connection.execute("alter table vps_billing_cycles drop constraint full_disk")
        await billing.run()
        healed = await details(billing)
    assert (failed.status, failed.last_run_success, failed.last_successful_run) == ("error", False, None)
    assert str(billing.organization.id) in (failed.error_message or "")
    assert (healed.status, healed.last_run_success, healed.error_message) == ("running", True, None)


async def test_a_daemon_that_stopped_is_stopped(billing: Billing) -> None:
    async with alive(billing):
        await billing.run()
    seen = await status(billing)
    assert (seen.status, seen.active_biller, seen.is_stale) == ("stopped", "none", True)
    assert (seen.next_scheduled_run, seen.uptime_minutes) == (None, None)
    assert seen.last_successful_run is not None
    assert not seen.warning_threshold_exceeded
    # The last of all: nobody takes over.
    assert not seen.switching_over


async def test_a_daemon_that_lost_its_lock_is_stopped_however_fresh_its_beat(billing: Billing) -> None:
    async with Leadership(billing.dsn, Role.BILLING_DAEMON, service="tests") as leadership:
        term = await leadership.try_acquire()
        assert term is not None
        await Heartbeat(billing.pool, Biller.DAEMON, term, interval=HOUR).register()
    assert (await status(billing)).status == "stopped"
    assert not await is_daemon_alive(billing.connection)


async def test_for_ten_seconds_after_a_biller_billing_is_switching_over(billing: Billing) -> None:
    async with (
        Leadership(billing.dsn, Role.BUILTIN_STANDBY, service="tests") as standby,
        alive(billing) as heartbeat,
    ):
        assert await standby.try_acquire() is not None
        seen = await status(billing)
        assert (seen.active_biller, seen.switching_over) == ("daemon", False)
        await heartbeat.beat()
    # `alive` ended first, while another stood by.
    seen = await status(billing)
    assert (seen.status, seen.active_biller, seen.switching_over) == ("stopped", "none", True)
    await billing.pass_time(STALE_AFTER)
    assert not (await status(billing)).switching_over


async def test_a_daemon_that_holds_its_lock_and_fell_silent_is_stale(billing: Billing) -> None:
    async with alive(billing) as heartbeat:
        await billing.pass_time(STALE_AFTER - SECOND)
        assert (await status(billing)).status == "running"
        await billing.pass_time(2 * SECOND)
        seen = await status(billing)
        assert (seen.status, seen.is_stale, seen.active_biller) == ("stopped", True, "none")
        assert not await is_daemon_alive(billing.connection)
        await heartbeat.beat()
        assert (await status(billing)).status == "running"


@pytest.mark.parametrize("interval", [HOUR, 4 * HOUR])
async def test_too_long_without_a_good_run_of_the_daemon_is_worth_a_warning(
    billing: Billing, interval: timedelta
) -> None:
    async def warns() -> bool:
        seen = await read_daemon_status(billing.connection, interval=interval)
        return seen.warning_threshold_exceeded

    await billing.run()
    await billing.pass_time(overdue_after(interval) - timedelta(minutes=1))
    assert not await warns()
    await billing.pass_time(timedelta(minutes=1))
    # The built-in biller does not make the daemon well.
    await billing.run(biller=Biller.BUILTIN)
    assert await warns()
    await billing.run()
    assert not await warns()


async def test_the_last_run_is_that_of_either_biller(billing: Billing, poor: Organization) -> None:
    await billing.bill_instance(hours_due=2)
    await billing.add_instance(hours_due=3)
    await billing.add_instance(poor, hours_due=1)
    await billing.run(biller=Biller.BUILTIN)
    seen = await details(billing)
    assert (seen.last_run_by, seen.instances_billed) == ("builtin", 1)
    assert seen.total_hours == 3
    assert seen.failed_instances == 1
    assert seen.last_run == seen.last_successful_run
    assert [run.biller for run in seen.history] == ["builtin", "daemon"]
    assert seen.total_amount == seen.history[0].amount_billed


async def test_a_run_after_a_top_up_is_history_and_not_the_last_run(billing: Billing) -> None:
    await billing.run()
    before = await status(billing)
    await billing.run(biller=Biller.BUILTIN, trigger=RunTrigger.TOP_UP)
    assert await status(billing) == before
    assert [run.trigger for run in (await details(billing)).history] == ["top_up", "schedule"]


async def test_the_built_in_biller_is_named_while_it_is_active(billing: Billing) -> None:
    async with alive(billing, Biller.BUILTIN):
        seen = await details(billing)
        assert (seen.status, seen.active_biller, seen.instance_id) == ("unknown", "builtin", "builtin-1")
        async with alive(billing):
            assert (await status(billing)).active_biller == "daemon"


async def test_the_next_run_is_an_interval_after_the_last_scheduled_one(billing: Billing) -> None:
    async with alive(billing) as heartbeat:
        never = await status(billing)
        assert never.next_scheduled_run is not None
        assert abs(never.next_scheduled_run - await clock_now(billing.connection)) < 5 * SECOND
        await billing.run()
        due = (await billing.last_run())["started_at"] + 2 * HOUR
        assert (await status(billing)).next_scheduled_run == due
        await billing.pass_hours(0.5)
        await heartbeat.beat()
        await billing.run(trigger=RunTrigger.ONCE)
        assert (await status(billing)).next_scheduled_run == due
        await billing.pass_hours(3)
        await heartbeat.beat()
        at_once = (await status(billing)).next_scheduled_run
        assert at_once is not None
        assert abs(at_once - await clock_now(billing.connection)) < 5 * SECOND
        await control.pause(billing.connection, reason="prices", author="alice")
        assert (await status(billing)).next_scheduled_run is None


@pytest.mark.parametrize("hours", [-3, 3])
async def test_after_a_clock_change_a_status_is_still_reported(billing: Billing, hours: int) -> None:
    async with alive(billing) as heartbeat:
        await billing.run()
        await billing.pass_hours(hours)
        await heartbeat.beat()
        seen = await details(billing)
    assert seen.status == "running"
    assert seen.uptime_minutes == max(hours, 0) * 60


async def test_a_second_pause_does_not_replace_the_reason_of_the_first(
    connection: asyncpg.Connection,
) -> None:
    await control.pause(connection, reason="prices are wrong", author="ada")
    with pytest.raises(ChangeRefused, match="paused already, by ada: prices are wrong"):
        await control.pause(connection, reason="lunch", author="ben")
    found = await control.read_control(connection)
    assert (found.reason, found.changed_by) == ("prices are wrong", "ada")
    assert await control.resume(connection, reason="corrected", author="ada")
    assert not await control.resume(connection, reason="again", author="ben")
    assert (await control.read_control(connection)).reason == "corrected"
    await control.pause(connection, reason="lunch", author="ben")
