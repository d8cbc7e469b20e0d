"""Readiness follows progress: a daemon whose runs fail is not ready, however well its heart beats."""

from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.billing import control, stall_watch
from containerstacks_shared.billing.owed_hours import stalled_since
from containerstacks_shared.billing.progress import patience
from containerstacks_shared.billing.status import read_daemon_details
from support import charges, fleet
from support.daemons import Daemon, Start
from support.waiting import becomes, eventually

INTERVAL = timedelta(hours=1)
HOUR = 3600


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall_watch, "_PAUSE_SECONDS_MIN", 0.02)
    monkeypatch.setattr(stall_watch, "_PAUSE_PER_LOOK", 0.0)


async def reasons(daemon: Daemon) -> list[str]:
    answer = await daemon.client.get("/readyz")
    return [] if answer.status == 200 else list((await answer.json())["reasons"])


async def says_why(daemon: Daemon) -> bool:
    reason = ", ".join(await reasons(daemon))
    assert reason.startswith("hours since ")
    return reason.endswith(" UTC are due and not billed")


async def test_a_daemon_whose_runs_fail_is_not_ready_until_they_succeed(
    start: Start, connection: asyncpg.Connection
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=2, hours=5)
    await charges.refuse_cycles(connection)
    async with start() as daemon:
        await eventually(lambda: says_why_in_both(daemon))
        assert await daemon.metric("containerstacks_billing_owed_seconds") == 10 * HOUR
        assert await daemon.metric("containerstacks_billing_leader") == 1
        beats = "select max(heartbeat_at) > clock_now() - interval '10 seconds' from billing_daemon_status"
        assert await connection.fetchval(beats)
        # A standby is ready.
        async with start() as standby:
            await eventually(standby.is_ready)

    await connection.execute("alter table vps_billing_cycles drop constraint refused")
    async with start() as daemon:
        await eventually(lambda: billed_and_ready(connection, daemon, due))
        assert await daemon.metric("containerstacks_billing_progress_healthy") == 1
        assert await daemon.metric("containerstacks_billing_owed_seconds") == 0
        assert await daemon.metric("containerstacks_billing_owed_since_timestamp_seconds") == 0


async def says_why_in_both(daemon: Daemon) -> bool:
    """Each attempt is a reason to wait while it lasts, so both have to say so between two of them."""
    return await says_why(daemon) and await daemon.metric("containerstacks_billing_progress_healthy") == 0


async def billed_and_ready(connection: asyncpg.Connection, daemon: Daemon, due: charges.DueFleet) -> bool:
    assert await charges.hours_billed(connection) == due.expected
    return await daemon.is_ready() and await daemon.metric("containerstacks_billing_owed_seconds") == 0


async def test_a_pause_is_a_reason_for_hours_to_wait(start: Start, connection: asyncpg.Connection) -> None:
    await charges.add_due_fleet(connection, organizations=1, instances=1, hours=5)
    await control.pause(connection, reason="stocktaking", author="tests")
    async with start() as daemon:
        await becomes(lambda: daemon.metric("containerstacks_billing_owed_seconds"), 5 * HOUR)
        # It may still be starting, on a busy machine.
        await eventually(daemon.is_ready)


async def test_a_run_that_is_catching_up_is_a_reason_for_hours_to_wait(
    start: Start, connection: asyncpg.Connection, database_url: str
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=1, hours=500)
    async with start() as daemon:
        async with charges.wallet_locked(database_url, due.organizations[0]):
            await becomes(lambda: daemon.metric("containerstacks_billing_owed_seconds"), 500 * HOUR)
            await eventually(daemon.is_ready)
        await eventually(lambda: billed_and_ready(connection, daemon, due))


async def test_hours_that_wait_for_money_are_reported_and_do_not_affect_readiness(
    start: Start, connection: asyncpg.Connection
) -> None:
    plan = await fleet.add_plan(connection)
    for balance in ("0.00", None):
        organization = await fleet.add_organization(connection, balance=balance)
        await fleet.add_instance(connection, organization, plan, hours_due=6)
    oldest = await connection.fetchval("select min(created_at) from vps_instances")
    async with start() as daemon:
        await becomes(lambda: daemon.metric("containerstacks_billing_unpaid_seconds"), 12 * HOUR)
        await eventually(daemon.is_ready)
        assert await daemon.metric("containerstacks_billing_owed_seconds") == 12 * HOUR
        since = await daemon.metric("containerstacks_billing_unpaid_since_timestamp_seconds")
        assert since == pytest.approx(oldest.timestamp())
    details = await read_daemon_details(connection, interval=INTERVAL)
    assert (details.hours_owed, details.hours_unpaid) == (12, 12)
    assert details.oldest_unbilled_hour == details.oldest_unpaid_hour == oldest


# What counts as stalled -------------------------------------------------------------------------


async def is_stalled(connection: asyncpg.Connection) -> bool:
    return await stalled_since(connection, patience=patience(INTERVAL)) is not None


@pytest.mark.parametrize(("hours_due", "stalled"), [(2, False), (3, False), (4, True), (100, True)])
async def test_an_hour_may_be_missed_by_two_runs(
    connection: asyncpg.Connection, hours_due: int, *, stalled: bool
) -> None:
    await fleet.add_instance(connection, hours_due=hours_due)
    assert await is_stalled(connection) is stalled


async def test_the_last_hours_of_a_deleted_instance_are_stalled_too(connection: asyncpg.Connection) -> None:
    await fleet.add_instance(connection, hours_due=5)
    await connection.execute("delete from vps_instances")
    assert await is_stalled(connection)


@pytest.mark.parametrize("moved", [False, True])
async def test_hours_of_a_held_price_wait_for_an_operator_also_after_a_resize(
    connection: asyncpg.Connection, *, moved: bool
) -> None:
    organization = await fleet.add_organization(connection)
    held, fine = [await fleet.add_plan(connection, base_price=price) for price in ("-7.30", "7.30")]
    await fleet.add_instance(connection, organization, held, hours_due=9)
    if moved:
        await connection.execute("update vps_instances set plan_id = $1", fine.reference)
    assert not await is_stalled(connection)
    await connection.execute("update vps_plans set base_price = $1", Decimal("7.30"))
    assert await is_stalled(connection)
