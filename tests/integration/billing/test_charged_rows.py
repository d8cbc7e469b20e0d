"""What one run writes: the original's rows, in the original's form, exact to the last digit and microsecond."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from support import fleet
from support.billing import Billing
from support.clock import clock_now
from support.fleet import Organization, Plan

HOUR = timedelta(hours=1)


async def test_a_charge_is_a_transaction_in_the_originals_form(billing: Billing) -> None:
    await billing.add_instance(label="web-1", hours_due=3)
    await billing.run()
    (transaction,) = await billing.connection.fetch("select * from payment_transactions")
    assert dict(transaction) | dict.fromkeys(
        ("id", "created_at", "updated_at", "wallet_ledger_entry_id")
    ) == {
        "id": None,
        "organization_id": billing.organization.id,
        "amount": Decimal("-0.03"),
        "currency": "USD",
        "payment_method": "wallet_debit",
        "payment_provider": "internal",
        "provider_transaction_id": None,
        "status": "completed",
        "description": "VPS Hourly Billing - web-1 (3h)",
        "metadata": {"balance_before": 100, "balance_after": 99.97},
        "wallet_ledger_entry_id": None,
        "created_at": None,
        "updated_at": None,
    }
    # The services read it as text elsewhere: a number, not a string that looks like one.
    kinds = "select distinct jsonb_typeof(value) from payment_transactions, jsonb_each(metadata)"
    assert [row[0] for row in await billing.connection.fetch(kinds)] == ["number"]


async def test_a_charge_is_a_cycle_in_the_originals_form(billing: Billing) -> None:
    created_at = await clock_now(billing.connection) - timedelta(hours=3, minutes=30)
    instance = await billing.add_instance(created_at=created_at)
    await billing.run()
    (cycle,) = await billing.cycles(instance)
    elapsed = cycle["metadata"].pop("elapsed_hours")
    assert elapsed == pytest.approx(3.5, abs=0.01)
    transaction_id = await billing.connection.fetchval("select id from payment_transactions")
    run = await billing.last_run()
    assert dict(cycle) | dict.fromkeys(("id", "created_at", "updated_at")) == {
        "id": None,
        "vps_instance_id": instance,
        "organization_id": billing.organization.id,
        "billing_period_start": created_at,
        "billing_period_end": created_at + 3 * HOUR,
        "hourly_rate": Decimal("0.01"),
        "total_amount": Decimal("0.03"),
        "status": "billed",
        "payment_transaction_id": transaction_id,
        "metadata": {"hours_charged": 3},
        "billing_run_id": run["id"],
        "billing_correction_id": None,
        "created_at": None,
        "updated_at": None,
    }


async def test_a_refusal_is_a_failed_cycle_in_the_originals_form(
    billing: Billing, poor: Organization
) -> None:
    created_at = await clock_now(billing.connection) - timedelta(hours=2, minutes=30)
    instance = await billing.add_instance(poor, created_at=created_at)
    await billing.run()
    (cycle,) = await billing.cycles(instance, status="failed")
    assert cycle["payment_transaction_id"] is None
    assert (cycle["billing_period_start"], cycle["billing_period_end"]) == (created_at, created_at + 2 * HOUR)
    assert (cycle["hourly_rate"], cycle["total_amount"]) == (Decimal("0.01"), Decimal("0.02"))
    elapsed = cycle["metadata"].pop("elapsed_hours")
    assert elapsed == pytest.approx(2.5, abs=0.01)
    assert cycle["metadata"] == {"hours_charged": 2, "reason": "insufficient_balance"}
    assert await billing.connection.fetchval("select count(*) from payment_transactions") == 0


async def test_of_an_instance_only_last_billed_at_moves(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)
    before = await billing.connection.fetchrow("select * from vps_instances")
    await billing.run()
    after = await billing.connection.fetchrow("select * from vps_instances where id = $1", instance)
    assert before is not None
    assert after is not None
    changed = {name for name in dict(after) if after[name] != before[name]}
    assert changed == {"last_billed_at", "updated_at"}
    assert after["last_billed_at"] == before["created_at"] + 2 * HOUR


async def test_what_a_transaction_changes_after_a_charge_is_counted(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    for _ in range(3):
        await fleet.add_instance(connection, organization, plan, hours_due=2)
    async with connection.transaction():
        billed = await connection.fetchval(
            "select instances_billed from charge_organizations($1, $2, 1)",
            [organization.id],
            await clock_now(connection),
        )
        await connection.execute("update vps_instances set status = 'offline'")
    assert billed == 3
    counted = await connection.fetch("select status, amount from vps_counts_now")
    assert [tuple(row) for row in counted] == [("offline", 3)]


async def test_periods_keep_their_microseconds(billing: Billing) -> None:
    created_at = datetime(2026, 1, 1, 11, 59, 59, 123457, tzinfo=UTC)
    instance = await billing.add_instance(created_at=created_at)
    await billing.run()
    await billing.pass_hours(5)
    await billing.run()
    first, second = await billing.cycles(instance)
    assert first["billing_period_start"] == created_at
    assert second["billing_period_start"] == first["billing_period_end"]
    assert second["billing_period_end"].microsecond == 123457


async def test_a_new_instance_is_charged_when_its_first_hour_is_whole_and_not_before(
    billing: Billing,
) -> None:
    instance = await billing.add_instance()
    await billing.run()
    await billing.pass_time(HOUR - timedelta(minutes=1))
    await billing.run()
    assert await billing.hours_billed(instance) == 0
    await billing.pass_time(timedelta(minutes=1))
    await billing.run()
    assert await billing.hours_billed(instance) == 1


async def test_a_long_gap_is_charged_to_the_hour(billing: Billing, connection: asyncpg.Connection) -> None:
    rich = await fleet.add_organization(connection, balance="1000000")
    gaps = (24 + 23, 40 * 24 + 1, 800 * 24 + 23)
    instances = [await billing.add_instance(rich, hours_due=hours) for hours in gaps]
    summary = await billing.run()
    assert tuple([await billing.hours_billed(instance) for instance in instances]) == gaps
    assert summary.charged.hours_billed == sum(gaps)
    assert await billing.balance(rich.wallet_id) == Decimal(1_000_000) - summary.charged.amount_billed


async def test_every_status_is_billed(billing: Billing) -> None:
    statuses = ("running", "offline", "error", "billing_suspension", "deleting", "never heard of", None)
    for status in statuses:
        await billing.add_instance(status=status, hours_due=1)
    summary = await billing.run()
    assert summary.charged.instances_billed == len(statuses)


async def test_an_instance_billed_into_the_future_is_not_charged_and_reported(billing: Billing) -> None:
    now = await clock_now(billing.connection)
    instance = await billing.add_instance(created_at=now - 9 * HOUR, last_billed_at=now + 2 * HOUR)
    summary = await billing.run()
    assert summary.charged.instances_billed == 0
    assert [finding.key for finding in await billing.verify()] == [str(instance)]


@pytest.mark.parametrize("moment", ["-infinity", "infinity"])
async def test_an_infinite_billing_mark_is_reported_and_delays_no_other(
    billing: Billing, connection: asyncpg.Connection, moment: str
) -> None:
    odd = await billing.add_instance(hours_due=1)
    await connection.execute("update vps_instances set last_billed_at = $1::text::timestamptz", moment)
    instance = await billing.add_instance(hours_due=2)
    summary = await billing.run()
    assert (summary.status, summary.charged.instances_billed) == ("succeeded", 1)
    assert await billing.hours_billed(instance) == 2
    assert [finding.key for finding in await billing.verify()] == [str(odd)]


async def test_an_instance_without_a_known_start_is_reported(billing: Billing) -> None:
    odd = await billing.add_instance(hours_due=1)
    later = await billing.add_instance()
    await billing.connection.execute("update vps_instances set created_at = null where id = $1", odd)
    await billing.connection.execute(
        "update vps_instances set created_at = now() + interval '9 hours' where id = $1", later
    )
    assert (await billing.run()).charged.instances_billed == 0
    assert {finding.key: finding.check for finding in await billing.verify()} == {
        str(odd): "billed_into_the_future",
        str(later): "billed_into_the_future",
    }


async def test_an_absurd_price_affects_no_other_instance_of_its_organization(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    absurd = await fleet.add_plan(connection, base_price="9999999999.99", markup_price="9999999999.99")
    debtor = await billing.add_instance(plan=absurd, hours_due=9000)
    instance = await billing.add_instance(hours_due=9001)
    assert (await billing.run()).status == "succeeded"
    assert await billing.hours_billed(instance) == 1
    assert set(await billing.open_debts()) == {debtor, instance}
    assert await billing.verify() == []


async def test_a_rate_is_rounded_once_and_its_hours_add_up_to_the_digit(billing: Billing) -> None:
    # 3 / 730 = 0.00410958904…: the plan that the original charged nothing for.
    plan = await fleet.add_plan(billing.connection, base_price="3.00", markup_price="0.00")
    instance = await billing.add_instance(plan=plan, hours_due=0)
    for _ in range(3):
        await billing.pass_hours(1)
        await billing.run()
    await billing.pass_hours(97)
    await billing.run()
    assert await billing.hours_billed(instance) == 100
    assert await billing.balance() == Decimal(100) - 100 * Decimal("0.00410959")


async def test_a_free_plan_advances_and_leaves_the_wallet_alone(billing: Billing) -> None:
    free = await fleet.add_plan(billing.connection, base_price="0.00", markup_price="0.00")
    instance = await billing.add_instance(plan=free, hours_due=4)
    await billing.run()
    (cycle,) = await billing.cycles(instance)
    assert cycle["total_amount"] == 0
    assert await billing.balance() == Decimal(100)
    assert await billing.verify() == []


async def test_a_run_counts_what_it_did_on_its_own_row(billing: Billing) -> None:
    poor = await fleet.add_organization(billing.connection, balance="0.01")
    await billing.add_instance(hours_due=5)
    await billing.add_instance(poor, hours_due=3)
    summary = await billing.run()
    run = await billing.last_run()
    assert (run["id"], run["status"], run["error_message"]) == (summary.run_id, "succeeded", None)
    assert (run["instances_billed"], run["hours_billed"], run["amount_billed"]) == (2, 6, Decimal("0.06"))
    assert (run["instances_unpaid"], run["hours_unpaid"]) == (1, 2)
    assert run["finished_at"] >= run["started_at"]
