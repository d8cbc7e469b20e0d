"""A fault in any rule of the engine is named by `verify`, with the id of a row that it has spoiled."""

import pytest

from support import fleet
from support.billing import Billing, another_session
from support.mutants import MUTANTS, spoil

IDS = """
select id::text from vps_instances union all select id::text from deleted_vps_instances
 union all select id::text from wallets union all select id::text from wallet_ledger_entries
 union all select id::text from vps_billing_cycles union all select id::text from payment_transactions
 union all select id::text from vps_debts union all select id::text from billing_runs
"""


async def live(billing: Billing) -> None:
    """Build a history that touches every rule, with six runs."""
    connection = billing.connection
    poor = await fleet.add_organization(connection, balance="0.025")
    leaver = await fleet.add_organization(connection, balance="0.01")
    for organization in (billing.organization, poor):
        await fleet.add_wallet(connection, organization.id, balance="50", currency="EUR")
    dear = await fleet.add_plan(connection, base_price="7.30", markup_price="0")
    odd = await fleet.add_plan(connection, base_price="3.33", markup_price="0.01")
    negative = await fleet.add_plan(connection, base_price="-5", markup_price="0")
    for region, price in (("us-east", "7.30"), ("eu-west", "14.60")):
        await fleet.add_plan(
            connection, provider_plan_id="g6-both", region=region, base_price=price, markup_price="0"
        )
    resized, deleted, moved, again = [await billing.add_instance(hours_due=2.5) for _ in range(4)]
    for reference in (dear, odd, negative, "g6-both", "g6-never-heard-of"):
        await billing.add_instance(plan=reference, region="eu-west", hours_due=2)
    for status in ("stopped", "suspended", None):
        await billing.add_instance(status=status, hours_due=1)
    await billing.add_instance(poor, hours_due=3)
    await billing.bill_instance(leaver, hours_due=3)
    await billing.pass_hours(2.7)
    await connection.execute("update vps_instances set plan_id = $2 where id = $1", resized, odd.reference)
    await connection.execute("update vps_plans set base_price = 14.60 where id = $1", billing.plan.id)
    await connection.execute("update vps_plans set base_price = 7300 where id = $1", dear.id)
    await connection.execute("delete from vps_instances where id = $1", deleted)
    await fleet.delete_and_restore(connection, leaver.id)
    row = await fleet.take_out(connection, again)
    await fleet.insert(connection, "vps_instances", row | {"plan_id": odd.reference})
    async with another_session(billing.dsn) as session:
        await session.execute("set containerstacks.guard = 'off'")
        await session.execute(
            "update vps_instances set last_billed_at = last_billed_at - interval '90 minutes' where id = $1",
            moved,
        )
    await billing.pass_hours(1.2)
    for number in range(5):
        await billing.run()
        await billing.pass_hours(1)
        if number == 2:
            await billing.credit(poor, "0.04")


async def test_the_unmutated_engine_has_no_findings(billing: Billing) -> None:
    await live(billing)
    # The mark that the scenario sets back waits for somebody, and says so.
    findings = await billing.verify()
    assert {finding.check for finding in findings} == {"periods_beyond_last_billed"}


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_fault_in_a_rule_is_named(name: str, billing: Billing) -> None:
    await spoil(billing.connection, MUTANTS[name])
    await live(billing)
    findings = await billing.verify()
    assert {finding.check for finding in findings} >= MUTANTS[name].found_by
    known = {row["id"] for row in await billing.connection.fetch(IDS)}
    assert {finding.key for finding in findings if finding.check in MUTANTS[name].found_by} <= known
