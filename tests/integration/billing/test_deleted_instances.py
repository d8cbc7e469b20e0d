"""Nothing vanishes: deletion ends billing at its moment, and what was used before is still charged, or written off."""

from datetime import timedelta
from decimal import Decimal

import asyncpg

from support import fleet
from support.billing import Billing
from support.fleet import Organization, Plan

DELETE_INSTANCE = "delete from vps_instances where id = $1"
DELETE_ORGANIZATION = "delete from organizations where id = $1"


async def test_the_last_whole_hours_of_a_deleted_instance_are_billed(billing: Billing) -> None:
    instance = await billing.bill_instance(hours_due=1)
    await billing.pass_hours(2.5)
    await billing.connection.execute(DELETE_INSTANCE, instance)
    await billing.pass_hours(40)
    summary = await billing.run()
    assert (summary.charged.instances_billed, summary.charged.hours_billed) == (1, 2)
    first, last = await billing.cycles(instance)
    assert last["billing_period_start"] == first["billing_period_end"]
    assert await billing.balance() == Decimal("99.97")
    await billing.pass_hours(40)
    assert (await billing.run()).charged.instances_billed == 0
    assert await billing.verify() == []


async def test_the_history_of_a_deleted_instance_stays_readable(billing: Billing) -> None:
    instance = await billing.add_instance(label="gone", hours_due=2)
    await billing.run()
    await billing.connection.execute(DELETE_INSTANCE, instance)
    history = await billing.connection.fetch(
        "select d.label, d.deleted_at, t.description from deleted_vps_instances d"
        " join vps_billing_cycles c on c.vps_instance_id = d.id"
        " join payment_transactions t on t.id = c.payment_transaction_id"
    )
    assert [(row["label"], row["description"]) for row in history] == [
        ("gone", "VPS Hourly Billing - gone (2h)")
    ]


async def test_a_deleted_instance_costs_what_its_plans_cost_before(billing: Billing) -> None:
    bigger = await fleet.add_plan(billing.connection, base_price="12.30")
    instance = await billing.add_instance()
    await billing.pass_hours(1.5)
    await billing.connection.execute("update vps_instances set plan_id = $1", bigger.reference)
    await billing.pass_hours(2)
    await billing.connection.execute(DELETE_INSTANCE, instance)
    await billing.connection.execute("delete from vps_plans")
    await billing.pass_hours(5)
    await billing.run()
    rates = [cycle["hourly_rate"] for cycle in await billing.cycles(instance)]
    assert rates == [Decimal("0.01"), Decimal("0.02")]
    assert await billing.hours_billed(instance) == 3


async def test_an_instance_deleted_within_its_first_hour_owes_nothing(billing: Billing) -> None:
    instance = await billing.add_instance()
    await billing.pass_time(timedelta(minutes=59))
    await billing.connection.execute(DELETE_INSTANCE, instance)
    await billing.pass_hours(10)
    assert (await billing.run()).charged.instances_billed == 0


async def test_a_deleted_instance_without_money_stays_one_debt_until_it_is_paid(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.add_instance(poor, hours_due=2)
    await billing.connection.execute(DELETE_INSTANCE, instance)
    for _ in range(2):
        await billing.run()
    assert set(await billing.open_debts()) == {instance}
    assert len(await billing.cycles(instance, status="failed")) == 1
    await billing.credit(poor, "1.00")
    await billing.run()
    assert await billing.open_debts() == {}
    assert await billing.hours_billed(instance) == 2
    assert await billing.verify() == []


async def test_deleting_an_organization_records_the_write_off(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    poor = await fleet.add_organization(connection, balance="0.01")
    instance = await billing.bill_instance(poor, hours_due=3)
    await connection.execute(DELETE_ORGANIZATION, poor.id)
    gone = await connection.fetchrow("select * from deleted_vps_instances where id = $1", instance)
    assert gone is not None
    assert gone["written_off_at"] is not None
    assert gone["hours_owed"] == 2
    assert await connection.fetchval("select count(*) from vps_debts where written_off_at is not null") == 1
    summary = await billing.run()
    assert summary.charged.instances_unpaid == 0
    assert len(await billing.cycles(instance)) == 1
    assert await billing.open_debts() == {}
    assert await billing.verify() == []


async def test_deleting_an_organization_writes_off_its_deleted_instances(
    billing: Billing, poor: Organization
) -> None:
    in_debt = await billing.bill_instance(poor, hours_due=3)
    await billing.connection.execute(DELETE_INSTANCE, in_debt)
    never_tried = await billing.add_instance(poor, hours_due=2)
    await billing.connection.execute(DELETE_INSTANCE, never_tried)
    await billing.connection.execute(DELETE_ORGANIZATION, poor.id)
    open_tombstones = (
        "select count(*) from deleted_vps_instances where hours_owed > 0 and written_off_at is null"
    )
    assert await billing.connection.fetchval(open_tombstones) == 0
    summary = await billing.run()
    assert summary.problems == []
    assert summary.charged.instances_unpaid == 0
    assert await billing.open_debts() == {}
    assert await billing.cycles(never_tried, status="failed") == []
    assert await billing.verify() == []


async def test_deleting_an_owner_deletes_the_organization_with_the_same_result(billing: Billing) -> None:
    await billing.add_instance(hours_due=3)
    await billing.connection.execute("delete from users where id = $1", billing.organization.owner_id)
    summary = await billing.run()
    assert (summary.charged.instances_billed, summary.charged.instances_unpaid) == (0, 0)
    assert [entry["kind"] for entry in await billing.entries(billing.organization.wallet_id)] == [
        "opening",
        "closing",
    ]
    assert await billing.verify() == []


async def test_truncating_the_instances_still_bills_their_last_whole_hours(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)
    await billing.connection.execute("truncate vps_instances")
    await billing.pass_hours(5)
    await billing.run()
    assert await billing.hours_billed(instance) == 2
    assert await billing.verify() == []


async def test_truncating_the_organizations_writes_everything_off(billing: Billing) -> None:
    poor = await fleet.add_organization(billing.connection, balance="0.01")
    await billing.bill_instance(poor, hours_due=2)
    await billing.connection.execute("truncate organizations cascade")
    summary = await billing.run()
    assert summary.charged.instances_unpaid == 0
    assert await billing.open_debts() == {}
    assert [entry["kind"] for entry in await billing.entries(poor.wallet_id)] == ["opening", "charge"]
    assert await billing.verify() == []


async def test_an_instance_inserted_again_resumes_at_its_billing_mark(billing: Billing) -> None:
    instance = await billing.bill_instance(hours_due=2)
    await billing.connection.execute("create temporary table kept as select * from vps_instances")
    await billing.connection.execute(DELETE_INSTANCE, instance)
    await billing.connection.execute("insert into vps_instances select * from kept")
    await billing.pass_hours(3)
    await billing.run()
    assert await billing.hours_billed(instance) == 5
    assert await billing.verify() == []


async def test_instances_billed_until_impossible_moments_can_still_be_deleted(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    for moment in ("-infinity", "infinity", "4713-01-01 BC"):
        instance = await fleet.add_instance(connection, organization, plan, hours_due=1)
        await connection.execute("update vps_instances set last_billed_at = $1::text::timestamptz", moment)
        await connection.execute(DELETE_INSTANCE, instance)
    assert await connection.fetchval("select count(*) from deleted_vps_instances") == 3
