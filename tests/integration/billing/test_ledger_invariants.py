"""The invariants of a ledger, by the names that ledger conformance knows them under.

Two of the fifteen have no test here. No entry is chained to the one before it by a hash: what refuses
changes is the database, and `verify` recomputes every balance. And money never moves from one wallet to
another, so "value conserved under concurrent transfers" is held for what does move: credits and charges.
"""

import asyncio
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.billing.charge import charge_organizations
from containerstacks_shared.billing.credits import Credit, credit_wallet
from containerstacks_shared.billing.refunds import refund_cycle
from containerstacks_shared.core.errors import ContainerStacksError
from support import fleet
from support.billing import Billing
from support.fleet import Organization
from support.waiting import LIMIT_SECONDS

# Digits that have no end in binary.
CREDIT = Decimal("0.10000001")


async def credit(billing: Billing, organization: Organization, reference: str) -> bool:
    async with billing.pool.acquire() as session:
        credited = await credit_wallet(
            session, organization=str(organization.id), amount=CREDIT, reference=reference, author="tests"
        )
    return credited.written


async def charge(billing: Billing, organizations: list[Organization], run_id: int) -> Decimal:
    """One batch, without the run lock that keeps others away."""
    async with billing.pool.acquire() as session, session.transaction():
        now = await session.fetchval("select clock_now()")
        wanted = [organization.id for organization in organizations]
        return (await charge_organizations(session, wanted, now=now, run_id=run_id)).amount_billed


@pytest.fixture
async def lived_in(billing: Billing, connection: asyncpg.Connection) -> Billing:
    """Charges, credits, a refund, a debt paid in part, a deletion, a price change, other currencies."""
    poor = await fleet.add_organization(connection, balance="0.03")
    await fleet.add_wallet(connection, poor.id, balance="40.00", currency="EUR")
    await billing.add_instance(hours_due=1)
    refunded = await billing.add_instance(plan="g7-never-heard-of", hours_due=5)
    deleted = await billing.add_instance(hours_due=2.5)
    await billing.bill_instance(poor, hours_due=9)
    await connection.execute("update vps_plans set base_price = 12.30")
    await billing.pass_hours(3)
    await connection.execute("delete from vps_instances where id = $1", deleted)
    await billing.credit(poor, "0.05", reference="payment-1")
    await billing.run()
    cycle, *_ = await billing.cycles(refunded)
    await refund_cycle(connection, UUID(str(cycle["id"])), reason="outage", author="tests")
    await billing.credit(billing.organization, "0.00000001", reference="payment-2")
    await billing.pass_hours(2)
    await billing.run()
    return billing


async def test_balanced_per_currency(lived_in: Billing, connection: asyncpg.Connection) -> None:
    sums = await connection.fetch(
        "select w.currency, sum(w.balance) as balances,"
        " (select sum(e.amount) from wallet_ledger_entries e"
        "    join wallets o on o.id = e.wallet_id where o.currency = w.currency) as entries"
        " from wallets w group by w.currency"
    )
    assert {row["currency"] for row in sums} == {"USD", "EUR"}
    assert all(row["balances"] == row["entries"] for row in sums)
    assert await lived_in.verify() == []


async def test_append_only(lived_in: Billing, connection: asyncpg.Connection) -> None:
    before = await connection.fetch("select * from wallet_ledger_entries order by id")
    for change in ("update wallet_ledger_entries set amount = 0", "delete from wallet_ledger_entries"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(change)
    await lived_in.pass_hours(2)
    await lived_in.run()
    after = await connection.fetch("select * from wallet_ledger_entries order by id")
    assert after[: len(before)] == before
    assert len(after) > len(before)


async def test_duplicate_submission_is_a_no_op(billing: Billing) -> None:
    assert await billing.credit(billing.organization, "5") == Credit(written=True, balance=Decimal(105))
    before = await billing.everything()
    assert await billing.credit(billing.organization, "5.00") == Credit(written=False, balance=Decimal(105))
    assert await billing.everything() == before


async def test_concurrent_duplicates_collapse_to_one(billing: Billing) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        written = await asyncio.gather(
            *(credit(billing, billing.organization, "payment-1") for _ in range(8))
        )
    assert sum(written) == 1
    assert await billing.balance() == 100 + CREDIT


async def test_no_lost_update_on_a_hot_account(billing: Billing) -> None:
    run_id = (await billing.run()).run_id
    for hours in (1, 2, 3):
        await billing.add_instance(hours_due=hours)

    async def top_up() -> None:
        async with billing.pool.acquire() as session:
            await session.execute("update wallets set balance = balance + 1")

    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(
            *(credit(billing, billing.organization, f"payment-{number}") for number in range(10)),
            *(top_up() for _ in range(10)),
            *(charge(billing, [billing.organization], run_id) for _ in range(4)),
        )
    assert await billing.balance() == 100 + 10 * CREDIT + 10 - Decimal("0.06")


async def test_value_conserved_under_concurrent_credits_and_charges(billing: Billing) -> None:
    run_id = (await billing.run()).run_id
    organizations = [await fleet.add_organization(billing.connection, balance="0.02") for _ in range(4)]
    for organization in organizations:
        for hours in (1, 3):
            await billing.add_instance(organization, hours_due=hours)
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        for organization in organizations:
            group.create_task(credit(billing, organization, str(organization.id)))
        charges = [
            group.create_task(charge(billing, order, run_id))
            for order in (organizations, organizations[::-1])
        ]
    charged = sum(task.result() for task in charges)
    assert await billing.connection.fetchval("select sum(balance) from wallets") == (
        100 + 4 * (Decimal("0.02") + CREDIT) - charged
    )


async def test_balance_is_the_journals_projection(lived_in: Billing, connection: asyncpg.Connection) -> None:
    differing = await connection.fetch(
        "select w.id from wallets w left join wallet_ledger_entries e on e.wallet_id = w.id"
        " group by w.id having w.balance <> coalesce(sum(e.amount), 0)"
        " or w.balance <> (array_agg(e.balance_after order by e.id desc))[1]"
    )
    assert differing == []
    assert await lived_in.verify() == []


async def test_overdraft_guard_holds_under_a_concurrent_drain(billing: Billing) -> None:
    run_id = (await billing.run()).run_id
    poor = await fleet.add_organization(billing.connection, balance="0.07")
    for hours in (1, 2, 3, 4, 5):
        await billing.add_instance(poor, hours_due=hours)
    async with asyncio.timeout(LIMIT_SECONDS):
        amounts = await asyncio.gather(*(charge(billing, [poor], run_id) for _ in range(6)))
    assert sum(amounts) == Decimal("0.07")
    balances = [entry["balance_after"] for entry in await billing.entries(poor.wallet_id)]
    assert min(balances) == 0
    assert await billing.balance(poor.wallet_id) == 0


async def test_no_precision_drift_over_many_small_movements(billing: Billing) -> None:
    plan = await fleet.add_plan(billing.connection, base_price="3.00", markup_price="0.00")
    await billing.add_instance(plan=plan)
    run_id = (await billing.run()).run_id
    rate, movements = Decimal("0.00410959"), 100
    for number in range(movements):
        await billing.pass_time(timedelta(hours=1))
        async with billing.connection.transaction():
            now = await billing.connection.fetchval("select clock_now()")
            await charge_organizations(billing.connection, [billing.organization.id], now=now, run_id=run_id)
        await billing.credit(billing.organization, "0.00000001", reference=str(number))
    assert await billing.balance() == 100 + movements * (Decimal("0.00000001") - rate)


async def test_currencies_not_mixed(billing: Billing, connection: asyncpg.Connection) -> None:
    organization = await fleet.add_organization(connection, balance=None)
    wallets = {
        currency: await fleet.add_wallet(connection, organization.id, balance="1.00", currency=currency)
        for currency in ("EUR", "USD", "GBP")
    }
    await billing.bill_instance(organization, hours_due=200)
    await billing.credit(organization, "0.50")
    balances = {currency: await billing.balance(wallet) for currency, wallet in wallets.items()}
    assert balances == {"EUR": 1, "USD": Decimal("0.50"), "GBP": 1}
    assert {
        row["currency"] for row in await connection.fetch("select currency from payment_transactions")
    } == {"USD"}


async def test_reversal_is_compensation_never_deletion(billing: Billing) -> None:
    instance = await billing.bill_instance(hours_due=2)
    (cycle,) = await billing.cycles(instance)
    entries = await billing.entries(billing.organization.wallet_id)
    await refund_cycle(billing.connection, UUID(str(cycle["id"])), reason="outage", author="tests")
    *before, reversal = await billing.entries(billing.organization.wallet_id)
    assert before == entries
    assert (reversal["kind"], reversal["amount"]) == ("refund", Decimal("0.02"))
    assert await billing.connection.fetchval("select count(*) from payment_transactions") == 2
    assert await billing.balance() == Decimal(100)
    # The hours stay covered, and are not charged again.
    await billing.run()
    assert await billing.balance() == Decimal(100)


async def test_state_rebuilds_from_the_log(lived_in: Billing, connection: asyncpg.Connection) -> None:
    balances: dict[Any, Decimal] = defaultdict(Decimal)
    for entry in await connection.fetch("select wallet_id, amount from wallet_ledger_entries order by id"):
        balances[entry["wallet_id"]] += entry["amount"]
    assert balances == {row["id"]: row["balance"] for row in await connection.fetch("select * from wallets")}
    billed_until = {
        row["vps_instance_id"]: row["billed_until"]
        for row in await connection.fetch(
            "select vps_instance_id, max(billing_period_end) as billed_until from vps_billing_cycles"
            " where status <> 'failed' group by vps_instance_id"
        )
    }
    instances = await connection.fetch(
        "select id, last_billed_at from vps_instances union all"
        " select id, last_billed_at from deleted_vps_instances"
    )
    assert billed_until == {row["id"]: row["last_billed_at"] for row in instances}
    assert (await lived_in.last_run())["status"] == "succeeded"


async def test_per_account_order_monotonic(lived_in: Billing, connection: asyncpg.Connection) -> None:
    wallets = await connection.fetch("select id, balance from wallets")
    assert len(wallets) > 1
    for wallet in wallets:
        balance, recorded_at = Decimal(0), None
        for entry in await lived_in.entries(wallet["id"]):
            balance += entry["amount"]
            assert entry["balance_after"] == balance
            assert recorded_at is None or entry["recorded_at"] >= recorded_at
            recorded_at = entry["recorded_at"]
        assert balance == wallet["balance"]


async def test_a_duplicate_of_a_refused_transaction_is_not_reported_as_applied(billing: Billing) -> None:
    other = await fleet.add_organization(billing.connection)
    await credit(billing, other, "taken")
    for _ in range(2):
        with pytest.raises(ContainerStacksError):
            await credit(billing, billing.organization, "taken")
    transaction = billing.connection.transaction()
    await transaction.start()
    assert (await billing.credit(billing.organization, "5", reference="rolled back")).written
    await transaction.rollback()
    assert (await billing.credit(billing.organization, "5", reference="rolled back")).written
    assert await billing.balance() == Decimal(105)
