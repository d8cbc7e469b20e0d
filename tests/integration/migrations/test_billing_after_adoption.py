"""One run after an adoption: the hours and the amounts are those of the written rule, to the last digit."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from containerstacks_shared.billing import control
from support import catalog
from support.billing import Billing
from support.billing_model import BEGINNING, BillingModel, Instance
from support.plan_match import meant_plan

from .conftest import Adopted


def price(plans: Sequence[asyncpg.Record], plan_id: str, region: str) -> tuple[Any, Any]:
    plan = meant_plan(plans, plan_id, region)
    return (plan["base_price"], plan["markup_price"]) if plan else (None, None)


async def model_of(billing: Billing) -> BillingModel:
    model = BillingModel()
    async with billing.pool.acquire() as session:
        plans = await session.fetch("select * from vps_plans")
        instances = await session.fetch("select * from vps_instances")
        wallets = await session.fetch(
            "select distinct on (organization_id) organization_id, coalesce(balance, 0) as balance"
            " from wallets where currency = 'USD' order by organization_id, created_at, id"
        )
    model.wallets = {row["organization_id"]: row["balance"] for row in wallets}
    for row in instances:
        configuration = row["configuration"] if isinstance(row["configuration"], dict) else {}
        region = configuration.get("region", "")
        reference = f"{row['plan_id']} in {region}"
        model.plans[reference].priced(BEGINNING, *price(plans, row["plan_id"], region))
        model.instances[row["id"]] = Instance(
            id=UUID(str(row["id"])),
            organization=row["organization_id"],
            created_at=row["created_at"],
            billed_until=row["last_billed_at"] or row["created_at"],
            plans=[(BEGINNING, reference)],
        )
    return model


async def test_the_first_run_charges_the_hours_and_amounts_of_the_rule(billing: Billing) -> None:
    model = await model_of(billing)
    await control.resume(billing.connection, reason="agreed", author="alice")
    summary = await billing.run()
    model.run(summary.started_at)

    connection = billing.connection
    assert summary.status == "succeeded"
    assert summary.charged.hours_billed == len(model.charged) > 40
    assert summary.charged.amount_billed == sum(hour.rate for hour in model.charged)
    hours = Counter(hour.instance for hour in model.charged)
    cycles = await connection.fetch(
        "select vps_instance_id, sum((metadata ->> 'hours_charged')::integer)::integer as hours,"
        " sum(total_amount) as amount from vps_billing_cycles where status = 'billed'"
        " and billing_run_id is not null group by vps_instance_id"
    )
    assert {row["vps_instance_id"]: row["hours"] for row in cycles} == hours
    assert {row["vps_instance_id"]: row["amount"] for row in cycles} == {
        instance: sum(hour.rate for hour in model.charged if hour.instance == instance) for instance in hours
    }
    for organization, balance in model.wallets.items():
        paid = await connection.fetchval(
            "select coalesce(balance, 0) from wallets where organization_id = $1 and currency = 'USD'"
            " order by created_at, id limit 1",
            organization,
        )
        assert paid == balance
    assert set(await billing.open_debts()) == model.in_debt


async def test_one_run_leaves_every_row_that_was_there_before_and_a_clean_audit(
    adopted: Adopted, billing: Billing
) -> None:
    await control.resume(billing.connection, reason="agreed", author="alice")
    await billing.run()
    await billing.pass_hours(2)
    await billing.run()
    after = catalog.rows(adopted.dsn, like=adopted.rows_before)
    for table in ("payment_transactions", "vps_billing_cycles"):
        kept = {row["id"]: row for row in after[table]}
        assert all(kept[row["id"]] == row for row in adopted.rows_before[table])
    for table in ("users", "organizations", "vps_plans", "support_tickets", "billing_daemon_status"):
        assert after[table] == adopted.rows_before[table]
    assert await billing.verify() == []


async def test_doubled_failed_and_orphaned_rows_do_not_disturb_billing(billing: Billing) -> None:
    connection = billing.connection
    await control.resume(connection, reason="agreed", author="alice")
    instance = await connection.fetchval("select id from vps_instances where label = 'database'")
    # Its last hour was charged twice, and its next one has a failed and a pending cycle already.
    await connection.execute(
        "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start, billing_period_end,"
        " hourly_rate, total_amount, status) select id, organization_id, last_billed_at,"
        " last_billed_at + interval '1 hour', 0.04, 0.04, wanted.status from vps_instances,"
        " (values ('failed'), ('failed'), ('pending')) as wanted (status) where id = $1",
        instance,
    )
    await billing.run()
    ours = await connection.fetchval(
        "select count(*) from vps_billing_cycles where vps_instance_id = $1 and billing_run_id is not null",
        instance,
    )
    assert ours == 1
    # Refusals of the past are not debts of ours: one new failed cycle per instance that still cannot be paid.
    opened = await connection.fetchval(
        "select count(*) from vps_billing_cycles where status = 'failed' and billing_run_id is not null"
    )
    assert opened == len(await billing.open_debts())
    assert await billing.verify() == []


async def test_a_credit_after_adoption_pays_what_was_owed_before_it(billing: Billing) -> None:
    connection = billing.connection
    await control.resume(connection, reason="agreed", author="alice")
    await billing.run()
    poor = await connection.fetchrow(
        "select o.id, w.id as wallet_id from organizations o join wallets w on w.organization_id = o.id"
        " where slug = 'poor'"
    )
    assert poor is not None
    await connection.execute("update wallets set balance = balance + 10 where id = $1", poor["wallet_id"])
    await billing.run()
    owed = await connection.fetchval(
        "select count(*) from vps_debts where organization_id = $1 and settled_at is null", poor["id"]
    )
    assert owed == 0
    balance = await billing.balance(poor["wallet_id"])
    # 30 hours of Nano and 5 of Standard, and three cents that were there.
    assert balance == Decimal("10.03") - 30 * Decimal("0.01") - 5 * Decimal("0.04")
