"""Damage that leaves all remaining rows consistent: missing rows, and write-offs without a decision."""

import asyncpg
import pytest

from containerstacks_shared.core.queries import load
from support import fleet
from support.billing import Billing
from support.databases import past_the_triggers
from support.fleet import Organization
from support.mutants import MUTANTS, spoil


@pytest.fixture
async def lived_in(billing: Billing, connection: asyncpg.Connection) -> Billing:
    """Charges, a credit, a deletion, a debt."""
    poor = await fleet.add_organization(connection, balance="0.00", slug="poor")
    await billing.add_instance(hours_due=2)
    await billing.add_instance(hours_due=3, label="deleted")
    await billing.bill_instance(poor, hours_due=3)
    await billing.credit(billing.organization, "5.00")
    await billing.pass_hours(3)
    await connection.execute("delete from vps_instances where label = 'deleted'")
    assert await billing.verify() == []
    return billing


async def test_a_wallet_that_is_gone_with_its_money(
    lived_in: Billing, connection: asyncpg.Connection, organization: Organization
) -> None:
    async with past_the_triggers(connection):
        await connection.execute("delete from wallets where id = $1", organization.wallet_id)
    assert [(finding.check, finding.key) for finding in await lived_in.verify()] == [
        ("wallets_unlike_their_ledger", str(organization.wallet_id))
    ]


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        pytest.param(
            "update deleted_vps_instances set written_off_at = clock_now() returning id",
            "written_off_by_nobody",
            id="hours of a deleted instance, written off while its organization is there",
        ),
        pytest.param(
            "update vps_debts set written_off_at = clock_now() returning vps_instance_id",
            "written_off_by_nobody",
            id="a debt, written off while its organization is there",
        ),
        pytest.param(
            "update payment_transactions set organization_id = (select id from organizations where slug = 'poor')"
            " where payment_method = 'wallet_credit' returning id",
            "transactions_of_another_organization",
            id="a credit in the books of another organization",
        ),
    ],
)
async def test_a_change_without_a_decision_is_reported(
    lived_in: Billing, connection: asyncpg.Connection, damage: str, check: str
) -> None:
    ((key,),) = await connection.fetch(damage)
    assert [(finding.check, finding.key) for finding in await lived_in.verify()] == [(check, str(key))]


async def test_an_instance_and_its_tombstone_both_gone(
    lived_in: Billing, connection: asyncpg.Connection
) -> None:
    async with past_the_triggers(connection):
        await connection.execute("delete from deleted_vps_instances")
    assert {finding.check for finding in await lived_in.verify()} == {"cycles_of_no_instance"}


async def test_periods_inside_a_longer_one_are_each_named_and_no_gap_is_made_up(
    lived_in: Billing, connection: asyncpg.Connection
) -> None:
    # The chain of three hours, and two single hours charged once more in the middle of it.
    planted = await connection.fetch(
        "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start, billing_period_end,"
        " hourly_rate, total_amount, status, billing_run_id, payment_transaction_id)"
        " select vps_instance_id, organization_id, billing_period_start + nth * interval '1 hour',"
        " billing_period_start + (nth + 1) * interval '1 hour', hourly_rate, hourly_rate, status, billing_run_id,"
        " payment_transaction_id from vps_billing_cycles, generate_series(1, 2) as nth"
        " where vps_instance_id = (select id from deleted_vps_instances) and status = 'billed'"
        " returning billing_period_start"
    )
    findings = await lived_in.verify()
    overlaps = [finding for finding in findings if finding.check == "overlapping_periods"]
    assert len(overlaps) == len(planted) == 2
    assert [finding for finding in findings if finding.check == "gaps_between_periods"] == []


async def test_hours_that_were_left_out_for_two_thousand_million_transactions_are_still_named(
    billing: Billing,
) -> None:
    await spoil(billing.connection, MUTANTS["only what runs"])
    left_out = await billing.add_instance(status="stopped", hours_due=2)
    for _ in range(3):
        await billing.run()
        await billing.pass_hours(1)
    query = load("containerstacks_shared.billing.verify_state")["hours_left_out"]
    # By then a row's age is below zero: transactions are counted in 32 bits.
    aged = query.replace("age(i.xmin)", "(age(i.xmin) - 2147483647)")
    assert aged != query
    for asked in (query, aged):
        assert [row["key"] for row in await billing.connection.fetch(asked, [], [])] == [str(left_out)]
