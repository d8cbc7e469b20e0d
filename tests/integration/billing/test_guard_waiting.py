"""Beside any version of the application: what waits for a lock sees, once it holds it, what was written meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from support import fleet
from support.billing import Billing, another_session, in_the_way
from support.clock import SETTING
from support.fleet import Plan
from support.guard import assert_sound, interventions
from support.original_biller import OriginalBiller, Payment, once
from support.waiting import sessions_waiting, time_limit

HOLD = "select from vps_instances where id = $1 for update"


@contextlib.asynccontextmanager
async def a_run_of_ours(billing: Billing, statement: str, *values: object) -> AsyncIterator[None]:
    """It holds the wallet, has charged, and moves the mark when the block ends; `statement` keeps it waiting."""
    async with in_the_way(billing.dsn, statement, *values):
        ours = asyncio.create_task(billing.run())
        await sessions_waiting(billing.connection, 1)
        yield
    await ours


async def test_a_debit_that_waits_for_our_run_is_refused(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)
    application = OriginalBiller(billing.dsn)
    (due,) = await application.read_due()
    async with a_run_of_ours(billing, HOLD, instance):
        debit = asyncio.create_task(application.debit(due))
        await sessions_waiting(billing.connection, 2)
    assert not await debit
    assert "2 hours of vps-" in application.refusals[0]
    await assert_sound(billing, hours={instance: 2})


async def test_a_cycle_that_waits_for_our_run_is_given_back(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)
    application = OriginalBiller(billing.dsn)
    (due,) = await application.read_due()
    assert await application.debit(due)
    async with a_run_of_ours(billing, HOLD, instance):
        cycle = asyncio.create_task(application.record(due))
        await sessions_waiting(billing.connection, 2)
    await cycle
    assert await interventions(billing.connection, "given_back") == [Decimal("0.02")]
    await assert_sound(billing, hours={instance: 2})


async def test_a_cycle_that_overtakes_our_run_is_the_one_that_counts(billing: Billing) -> None:
    connection = billing.connection
    # Our run waits when it has read the marks, and before it holds the first of them.
    await connection.execute(
        "create function wait_here() returns trigger language plpgsql"
        " as 'begin perform pg_advisory_xact_lock(4711); return null; end'"
    )
    await connection.execute(
        "create trigger wait_here before update on vps_instances for each statement"
        " when (current_setting('application_name') like 'containerstacks%') execute function wait_here()"
    )
    instance = await billing.add_instance(hours_due=2)
    application = OriginalBiller(billing.dsn)
    (due,) = await application.read_due()
    assert await application.debit(due)
    async with a_run_of_ours(billing, "select pg_advisory_xact_lock(4711)"), time_limit("the cycle waited"):
        await application.record(due)
    assert await interventions(connection, "given_back") == []
    await assert_sound(billing, hours={instance: 2})


@pytest.mark.parametrize(
    "change",
    ["delete from vps_instances where id = $1", "update vps_instances set label = 'store' where id = $1"],
)
async def test_an_instance_that_changes_while_its_cycle_waits_is_paid_once(
    billing: Billing, change: str
) -> None:
    instance = await billing.add_instance(hours_due=2, label="shop")
    application = OriginalBiller(billing.dsn)
    (due,) = await application.read_due()
    assert await application.debit(due)
    async with in_the_way(billing.dsn, change, instance):
        cycle = asyncio.create_task(application.record(due))
        await sessions_waiting(billing.connection, 1)
    await cycle
    await billing.run()
    assert await interventions(billing.connection, "given_back") == []
    await assert_sound(billing, hours={instance: 2})


async def test_a_debit_that_waits_for_a_top_up_undoes_no_money(billing: Billing, odd_plan: Plan) -> None:
    await billing.add_instance(plan=odd_plan, hours_due=2)
    application = OriginalBiller(billing.dsn)
    (due,) = await application.read_due()
    waiting: list[asyncio.Task[bool]] = []

    async def debit() -> None:
        waiting.append(asyncio.create_task(application.debit(due)))
        await sessions_waiting(billing.connection, 1)

    # The top-up holds the wallet, and its payment comes when the debit waits.
    assert await OriginalBiller(billing.dsn, step=once(debit, "before the payment")).top_up(
        billing.organization.id, 10.0
    )
    assert await waiting[0]
    await application.record(due)
    assert await billing.balance() == 110 - Decimal(str(due.amount))
    # It computed from the balance before the top-up, and in cents.
    (mended,) = await interventions(billing.connection, "mended")
    assert abs(mended - 10) < Decimal("0.01")
    await assert_sound(billing)


async def test_a_charge_in_flight_is_given_back_to_the_one_of_several_wallets_that_paid(
    billing: Billing, odd_plan: Plan
) -> None:
    connection = billing.connection
    euros = await fleet.add_wallet(connection, billing.organization.id, balance="50", currency="EUR")
    instance = await billing.add_instance(plan=odd_plan, hours_due=3)
    await OriginalBiller(billing.dsn, step=once(billing.run, "between debit and cycle")).run()
    (ours,) = await billing.cycles(instance)
    assert await billing.balance() == 100 - ours["total_amount"]
    assert await billing.balance(euros) == 50
    await assert_sound(billing, hours={instance: 3})


async def test_a_payment_from_another_purse_explains_no_movement_of_a_wallet(billing: Billing) -> None:
    connection = billing.connection
    async with connection.transaction():
        await connection.execute("update wallets set balance = balance + 1")
        metadata = {"wallet_type": "hosting", "balance_before": 100, "balance_after": 101}
        payment = Payment(billing.organization.id, 1.0, "wallet_credit", "Added funds", metadata)
        await OriginalBiller(billing.dsn).insert_payment(connection, payment)
    assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"]


@pytest.mark.parametrize(
    "attempt",
    [f"set {SETTING} = ''", f"set {SETTING} = '1 hour'", f"reset {SETTING}", "discard all", "reset all"],
)
async def test_no_session_hides_the_databases_clock(billing: Billing, attempt: str) -> None:
    await billing.pass_hours(5)
    async with another_session(billing.dsn) as session:
        await session.execute(attempt)
        assert await session.fetchval("select clock_offset() = '5 hours'")
