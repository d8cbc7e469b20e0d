"""One run after an adoption: the hours and the amounts are those of the written rule, to the last digit."""

from decimal import Decimal

from containerstacks_shared.billing import control
from support import catalog
from support.adopted_model import assert_charged_like, model_of
from support.billing import Billing

from .conftest import Adopted


async def test_the_first_run_charges_the_hours_and_amounts_of_the_rule(billing: Billing) -> None:
    model = await model_of(billing.connection)
    await control.resume(billing.connection, reason="agreed", author="alice")
    summary = await billing.run()
    model.run(summary.started_at)
    assert summary.status == "succeeded"
    assert summary.charged.hours_billed == len(model.charged) > 40
    assert summary.charged.amount_billed == sum(hour.rate for hour in model.charged)
    await assert_charged_like(billing.connection, model)


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
