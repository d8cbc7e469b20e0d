"""Beside any version of the application: its absolute writes of wallets lose no money."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

import asyncpg
import pytest

from support import fleet
from support.billing import Billing, another_session
from support.fleet import Organization, Plan
from support.guard import assert_sound, interventions
from support.original_biller import OriginalBiller, Payment, Version, once


async def top_up(application: OriginalBiller, organization: Organization) -> None:
    assert await application.top_up(organization.id, 10.0)


async def paypal(application: OriginalBiller, organization: Organization) -> None:
    payment = await application.begin_paypal(organization.id, 10.0)
    await application.complete_paypal(organization.id, payment, 10.0)


@pytest.mark.parametrize("version", [Version.A, Version.LATE])
@pytest.mark.parametrize("pay", [top_up, paypal])
async def test_a_run_during_a_top_up_is_not_undone(
    billing: Billing,
    odd_plan: Plan,
    pay: Callable[[OriginalBiller, Organization], Awaitable[None]],
    version: Version,
) -> None:
    instance = await billing.add_instance(plan=odd_plan, hours_due=5)
    await pay(
        OriginalBiller(billing.dsn, version, step=once(billing.run, "before the wallet")),
        billing.organization,
    )
    (cycle,) = await billing.cycles(instance)
    assert await billing.balance() == 110 - cycle["total_amount"]
    await assert_sound(billing, hours={instance: 5})
    entries = await billing.entries(billing.organization.wallet_id)
    assert [entry["kind"] for entry in entries] == ["opening", "charge", "application"]
    assert entries[-1]["amount"] == 10


# Two equal ones write the same balance twice: the second write changes nothing, and means something.
@pytest.mark.parametrize("other", [7.0, 10.0])
async def test_top_ups_at_once_all_arrive(billing: Billing, other: float) -> None:
    second = OriginalBiller(billing.dsn)

    async def another() -> None:
        assert await second.top_up(billing.organization.id, other)

    application = OriginalBiller(billing.dsn, step=once(another, "before the wallet"))
    assert await application.top_up(billing.organization.id, 10.0)
    assert await billing.balance() == Decimal(110) + Decimal(other)
    assert await interventions(billing.connection, "mended") == [Decimal(other)]
    await assert_sound(billing)


async def test_a_rounding_by_the_application_is_corrected_without_a_finding(billing: Billing) -> None:
    await OriginalBiller(billing.dsn).deduct(
        billing.organization.id, 0.0411, "VPS Creation - web (Initial Hour)"
    )
    assert await billing.balance() == Decimal("99.9589")
    assert await interventions(billing.connection, "mended") == []
    await assert_sound(billing)


async def test_of_several_wallets_one_is_meant_and_the_others_get_back_what_they_held(
    billing: Billing,
) -> None:
    connection = billing.connection
    euros = await fleet.add_wallet(connection, billing.organization.id, balance="50", currency="EUR")
    dollars = await fleet.add_wallet(connection, billing.organization.id, balance="7.5")
    assert await OriginalBiller(billing.dsn).top_up(billing.organization.id, 10.0)
    balances = [await billing.balance(wallet) for wallet in (billing.organization.wallet_id, euros, dollars)]
    assert balances == [110, 50, Decimal("7.5")]
    await assert_sound(billing)


async def test_a_payment_in_another_currency_goes_into_a_wallet_of_that_currency(billing: Billing) -> None:
    euros = await fleet.add_wallet(billing.connection, billing.organization.id, balance="50", currency="EUR")
    application = OriginalBiller(billing.dsn)
    payment = await application.begin_paypal(billing.organization.id, 10.0, currency="EUR")
    await application.complete_paypal(billing.organization.id, payment, 10.0)
    assert await billing.balance() == 100
    assert await billing.balance(euros) == 60
    await assert_sound(billing)


async def test_an_adjustment_in_two_transactions_is_explained_by_the_second(billing: Billing) -> None:
    await OriginalBiller(billing.dsn).adjust(billing.organization.id, 3.21)
    await assert_sound(billing)


async def test_a_wallet_that_happens_to_hold_what_was_written_elsewhere_is_left_alone(
    billing: Billing,
) -> None:
    connection = billing.connection
    other = await fleet.add_wallet(connection, billing.organization.id, balance="110")
    # As versions do that write one wallet by its id.
    async with connection.transaction():
        await connection.execute(
            "update wallets set balance = 110 where id = $1", billing.organization.wallet_id
        )
        metadata = {"balance_before": 100, "balance_after": 110}
        payment = Payment(billing.organization.id, 10.0, "wallet_credit", "Added funds", metadata)
        await OriginalBiller(billing.dsn).insert_payment(connection, payment)
    assert await billing.balance() == 110
    assert await billing.balance(other) == 110
    await assert_sound(billing)


async def test_an_unexplained_movement_stays_a_finding(billing: Billing) -> None:
    connection = billing.connection
    await connection.execute("update wallets set balance = balance + 1")
    # A payment of another amount, and one that means another balance, explain nothing.
    for amount, after in ((2.0, "101"), (1.0, "999")):
        payment = Payment(
            billing.organization.id, amount, "manual_adjustment", "Goodwill", {"balance_after": after}
        )
        await OriginalBiller(billing.dsn).insert_payment(connection, payment)
    assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"]


async def test_a_forged_setting_explains_no_movement_and_moves_no_money(billing: Billing) -> None:
    connection = billing.connection
    forge = "select set_config('containerstacks.moved_entry', min(id)::text, true) from wallet_ledger_entries"
    metadata = {"balance_before": 100.004, "balance_after": 90}
    payment = Payment(billing.organization.id, -10.004, "wallet_debit", "VPS Creation", metadata)
    # An entry of this transaction, but not the last one of its wallet; then one of an earlier transaction.
    async with connection.transaction():
        for balance in (90, 50):
            await connection.execute("update wallets set balance = $1", balance)
        await connection.execute(f"{forge} where kind = 'unexplained'")
        await OriginalBiller(billing.dsn).insert_payment(connection, payment)
    async with another_session(billing.dsn) as session:
        await session.execute("update wallets set balance = balance - 1")
        async with session.transaction():
            await session.execute(f"{forge} where kind = 'unexplained'")
            await OriginalBiller(billing.dsn).insert_payment(session, payment)
        # Its own last one, of an earlier transaction.
        await session.execute(forge.replace("min", "max").replace("true", "false"))
        payment = Payment(billing.organization.id, -1.0, "wallet_debit", "VPS Creation")
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await OriginalBiller(billing.dsn).insert_payment(session, payment)
    assert await billing.balance() == 49
    assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"] * 3


async def test_a_payment_that_is_not_a_number_empties_no_wallet(billing: Billing) -> None:
    payment = Payment(billing.organization.id, float("nan"), "wallet_debit", "VPS Creation")
    async with billing.pool.acquire() as session:
        transaction = session.transaction()
        await transaction.start()
        await session.execute("update wallets set balance = 0")
        with pytest.raises(asyncpg.PostgresError, match="not a number"):
            await OriginalBiller(billing.dsn, Version.LATE).insert_payment(session, payment)
        await transaction.rollback()
    assert await billing.balance() == 100
    await assert_sound(billing)
