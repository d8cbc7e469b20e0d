"""Who pays, how far the money reaches, and what happens to the hours that it does not reach."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.billing import debt_notices, debts, run_debts, run_records
from containerstacks_shared.billing.documents import RunTrigger
from containerstacks_shared.billing.owed_hours import read_owed_hours, stalled_since
from containerstacks_shared.billing.run import is_debt_payable
from containerstacks_shared.billing.status import read_daemon_details
from support import fleet
from support.billing import Billing, another_session
from support.clock import clock_now
from support.fleet import Organization

HOUR = timedelta(hours=1)
# The earliest moment that is reported: Python has no year before 1.
FIRST_DAY = datetime(1, 1, 2, tzinfo=UTC)


# Who pays ---------------------------------------------------------------------------------------


async def test_the_oldest_usd_wallet_pays_and_the_others_stay_untouched(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection, balance=None)
    now = await clock_now(connection)
    wallets = {
        name: await fleet.add_wallet(
            connection, organization.id, balance="5.00", currency=currency, created_at=now - age * HOUR
        )
        for name, currency, age in (("new", "USD", 1), ("old", "USD", 9), ("oldest", "EUR", 99))
    }
    await billing.bill_instance(organization, hours_due=3)
    balances = {name: await billing.balance(wallet) for name, wallet in wallets.items()}
    assert balances == {"new": Decimal(5), "old": Decimal("4.97"), "oldest": Decimal(5)}


async def test_a_second_wallet_does_not_help_out_when_the_oldest_is_empty(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance="0.01")
    second = await fleet.add_wallet(billing.connection, organization.id, balance="5.00")
    instance = await billing.bill_instance(organization, hours_due=3)
    assert await billing.hours_billed(instance) == 1
    assert await billing.balance(second) == Decimal(5)


async def test_of_wallets_created_at_the_same_moment_the_lowest_id_pays(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance=None)
    now = await clock_now(billing.connection)
    first, *others = sorted(
        [
            await fleet.add_wallet(billing.connection, organization.id, balance="1.00", created_at=now)
            for _ in range(4)
        ],
        key=lambda wallet: wallet.bytes,
    )
    await billing.bill_instance(organization, hours_due=3)
    assert await billing.balance(first) == Decimal("0.97")
    assert [await billing.balance(wallet) for wallet in others] == [Decimal(1)] * 3


@pytest.mark.parametrize("currency", [None, "EUR"])
async def test_an_organization_without_a_usd_wallet_is_reported_and_stops_no_other(
    billing: Billing, connection: asyncpg.Connection, currency: str | None
) -> None:
    walletless = await fleet.add_organization(connection, balance=None)
    foreign = None
    if currency is not None:
        foreign = await fleet.add_wallet(connection, walletless.id, balance="40.00", currency=currency)
    owing = await billing.add_instance(walletless, hours_due=2)
    await billing.add_instance(hours_due=2)
    summary = await billing.run()
    assert summary.status == "succeeded"
    assert summary.problems == [{"problem": "organization_without_wallet", "count": 1}]
    assert (summary.charged.instances_billed, summary.charged.instances_unpaid) == (1, 1)
    assert (await billing.open_debts())[owing]["reason"] == "no_wallet"
    assert await billing.balance(foreign) == (None if foreign is None else Decimal(40))
    assert await billing.verify() == []


@pytest.mark.parametrize("balance", [None, "0.00", "-3.50"])
async def test_an_empty_wallet_pays_nothing_and_is_unchanged(billing: Billing, balance: str | None) -> None:
    organization = await fleet.add_organization(billing.connection, balance=None)
    wallet = await fleet.add_wallet(billing.connection, organization.id, balance=balance)
    instance = await billing.add_instance(organization, hours_due=2)
    summary = await billing.run()
    assert await billing.balance(wallet) == (None if balance is None else Decimal(balance))
    assert summary.problems == []
    assert (await billing.open_debts())[instance]["reason"] == "insufficient_balance"
    assert await billing.verify() == []


async def test_a_nan_balance_pays_nothing(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance="NaN")
    instance = await billing.bill_instance(organization, hours_due=2)
    assert await billing.hours_billed(instance) == 0
    assert (await billing.open_debts())[instance]["reason"] == "insufficient_balance"


async def test_a_null_balance_counts_as_zero_when_money_comes_in(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance=None)
    wallet = await fleet.add_wallet(billing.connection, organization.id, balance=None)
    instance = await billing.add_instance(organization, hours_due=2)
    await billing.credit(organization, "1.00")
    await billing.run()
    assert await billing.hours_billed(instance) == 2
    assert await billing.balance(wallet) == Decimal("0.98")
    assert await billing.verify() == []


# How far the money reaches ----------------------------------------------------------------------


async def test_money_pays_the_longest_prefix_of_the_hours_in_the_order_of_their_starts(
    billing: Billing,
) -> None:
    organization = await fleet.add_organization(billing.connection, balance="0.05")
    early = await billing.add_instance(organization, hours_due=4)
    late = await billing.add_instance(organization, hours_due=2.5)
    summary = await billing.run()
    # early 0, early 1, then in turn: late 0 begins half an hour after early 1.
    assert [await billing.hours_billed(instance) for instance in (early, late)] == [3, 2]
    assert (summary.charged.hours_billed, summary.charged.hours_unpaid) == (5, 1)
    assert await billing.balance(organization.wallet_id) == 0


async def test_an_hour_that_is_not_covered_blocks_cheaper_ones_behind_it(billing: Billing) -> None:
    dear = await fleet.add_plan(billing.connection, base_price="73.00", markup_price="0")
    organization = await fleet.add_organization(billing.connection, balance="0.05")
    now = await clock_now(billing.connection)
    first = await billing.add_instance(organization, dear, created_at=now - 3 * HOUR)
    second = await billing.add_instance(organization, created_at=now - 2 * HOUR)
    await billing.run()
    assert set(await billing.open_debts()) == {first, second}
    assert await billing.balance(organization.wallet_id) == Decimal("0.05")


async def test_of_simultaneous_hours_the_oldest_instance_is_paid_first(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance="0.01")
    billed_at = await clock_now(billing.connection) - HOUR
    young, old = [
        await billing.add_instance(organization, created_at=billed_at - age * HOUR, last_billed_at=billed_at)
        for age in (1, 2)
    ]
    await billing.run()
    assert [await billing.hours_billed(instance) for instance in (old, young)] == [1, 0]


# What waits -------------------------------------------------------------------------------------


async def test_a_debt_writes_one_failed_cycle_over_many_runs(billing: Billing, poor: Organization) -> None:
    instance = await billing.bill_instance(poor, hours_due=1)
    opened_at = (await billing.open_debts())[instance]["opened_at"]
    for _ in range(3):
        await billing.pass_hours(1)
        await billing.run()
    (failed,) = await billing.cycles(instance, status="failed")
    debt = (await billing.open_debts())[instance]
    assert debt["vps_billing_cycle_id"] == failed["id"]
    assert debt["opened_at"] == opened_at
    assert await billing.verify() == []


async def test_a_debt_is_settled_when_money_arrives_and_history_keeps_it(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    await billing.credit(poor, "5.00")
    assert await is_debt_payable(billing.connection)
    summary = await billing.run(trigger=RunTrigger.TOP_UP)
    assert summary.charged.debts_settled == 1
    assert await billing.open_debts() == {}
    assert not await is_debt_payable(billing.connection)
    debt = await billing.connection.fetchrow("select * from vps_debts where vps_instance_id = $1", instance)
    assert debt is not None
    assert debt["settled_at"] >= debt["opened_at"]
    (failed,) = await billing.cycles(instance, status="failed")
    (billed,) = await billing.cycles(instance)
    assert failed["billing_period_start"] == billed["billing_period_start"]
    assert await billing.balance(poor.wallet_id) == Decimal("4.97")
    assert await billing.verify() == []


async def test_a_long_debt_is_paid_in_part_and_stays_the_same_debt(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=100)
    debt = (await billing.open_debts())[instance]["id"]
    await billing.credit(poor, "0.40")
    summary = await billing.run()
    assert (summary.charged.hours_billed, summary.charged.hours_unpaid) == (40, 60)
    assert (await billing.open_debts())[instance]["id"] == debt
    await billing.credit(poor, "0.60", reference="payment-2")
    await billing.run()
    assert await billing.open_debts() == {}
    assert await billing.hours_billed(instance) == 100
    assert await billing.balance(poor.wallet_id) == 0
    assert len(await billing.cycles(instance, status="failed")) == 1
    assert await billing.verify() == []


async def test_an_instance_that_owes_again_later_has_a_new_debt(billing: Billing, poor: Organization) -> None:
    instance = await billing.bill_instance(poor, hours_due=1)
    await billing.credit(poor, "0.01")
    await billing.run()
    await billing.pass_hours(1)
    await billing.run()
    assert len(await billing.cycles(instance, status="failed")) == 2
    assert await billing.connection.fetchval("select count(*) from vps_debts where settled_at is null") == 1
    assert await billing.verify() == []


async def test_after_a_top_up_only_debtors_with_money_are_billed(billing: Billing) -> None:
    debtors = [await fleet.add_organization(billing.connection, balance="0.00") for _ in range(2)]
    owing = [await billing.add_instance(debtor, hours_due=1) for debtor in debtors]
    await billing.run()
    other = await billing.add_instance(hours_due=1)
    await billing.credit(debtors[0], "1.00")
    await billing.run(trigger=RunTrigger.TOP_UP)
    assert [await billing.hours_billed(instance) for instance in (*owing, other)] == [1, 0, 0]


async def test_money_that_is_partly_spent_elsewhere_at_once_still_settles_a_debt(
    billing: Billing, poor: Organization
) -> None:
    await billing.bill_instance(poor, hours_due=1)
    await billing.credit(poor, "5.00")
    # The application charges for something else before the run.
    await billing.connection.execute("update wallets set balance = 4.50")
    assert await is_debt_payable(billing.connection)
    await billing.run(trigger=RunTrigger.TOP_UP)
    assert await billing.open_debts() == {}


async def test_a_top_up_that_began_before_a_run_and_ended_after_it_settles_a_debt(
    billing: Billing, poor: Organization
) -> None:
    await billing.bill_instance(poor, hours_due=1)
    async with another_session(billing.dsn) as application, application.transaction():
        await application.execute("select now()")
        await billing.run()
        await application.execute("update wallets set balance = balance + 5")
    assert await is_debt_payable(billing.connection)
    await billing.run(trigger=RunTrigger.TOP_UP)
    assert await billing.open_debts() == {}


async def test_money_that_covers_no_hour_is_not_worth_a_run(billing: Billing, poor: Organization) -> None:
    await billing.bill_instance(poor, hours_due=2)
    await billing.credit(poor, "0.009")
    assert not await is_debt_payable(billing.connection)
    await billing.credit(poor, "0.004", reference="payment-2")
    assert await is_debt_payable(billing.connection)
    await billing.run(trigger=RunTrigger.TOP_UP)
    assert await billing.balance(poor.wallet_id) == Decimal("0.003")
    assert not await is_debt_payable(billing.connection)


async def test_a_debt_without_wallet_is_settled_once_there_is_one(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance=None)
    instance = await billing.bill_instance(organization, hours_due=2)
    await fleet.add_wallet(billing.connection, organization.id, balance="1.00")
    assert await is_debt_payable(billing.connection)
    await billing.run(trigger=RunTrigger.TOP_UP)
    assert await billing.hours_billed(instance) == 2
    assert await billing.open_debts() == {}


async def test_a_million_owed_hours_are_billed_at_once_up_to_the_balance(
    billing: Billing, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large fleet after a long absence; walked hour by hour it would take longer than any batch may."""
    poor = await fleet.add_organization(connection, balance="4000.01")
    await connection.execute(
        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at)"
        " select $1, $2, n::text, 'vps-' || n, now() - interval '2000 hours' - n * interval '7 seconds'"
        " from generate_series(1, 500) n",
        poor.id,
        billing.plan.reference,
    )
    monkeypatch.setattr("containerstacks_shared.billing.run._BATCH_SECONDS", 5)
    summary = await billing.run()
    assert (summary.status, summary.charged.hours_billed) == ("succeeded", 400_001)
    assert await billing.balance(poor.wallet_id) == 0
    # The oldest hours first: no instance is an hour ahead of another.
    ahead = await connection.fetchval("select max(last_billed_at) - min(last_billed_at) from vps_instances")
    assert ahead <= timedelta(hours=1)


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_hours_due_since_before_the_first_representable_date_are_reported(
    billing: Billing, *, is_deleted: bool
) -> None:
    organization = await fleet.add_organization(billing.connection, balance=None)
    instance = await billing.add_instance(organization)
    await billing.connection.execute("update vps_instances set created_at = '0044-03-15 BC'")
    if is_deleted:
        await billing.connection.execute("delete from vps_instances")
    assert await stalled_since(billing.connection, patience=HOUR) == FIRST_DAY
    summary = await billing.run()
    assert instance in await billing.open_debts()

    owed = await read_owed_hours(billing.connection)
    (debt,) = await debts.read_open(billing.connection)
    (run,) = await run_records.recent(billing.connection)
    (opened,) = await run_debts.read_opened(billing.connection, run, limit=10)
    (overdue,) = await debt_notices.find_overdue(
        billing.connection, grace=timedelta(0), receivers=["command"], limit=10
    )
    assert run.run_id == summary.run_id
    assert (owed.since, owed.unpaid_since, debt.since) == (FIRST_DAY, FIRST_DAY, FIRST_DAY)
    assert (opened.since, overdue.since) == (FIRST_DAY, FIRST_DAY)
    assert owed.hours == owed.hours_unpaid == debt.hours > 2000 * 365 * 24
    assert (await read_daemon_details(billing.connection, interval=HOUR)).oldest_unpaid_hour == FIRST_DAY
