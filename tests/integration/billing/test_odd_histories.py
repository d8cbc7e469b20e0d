"""Unusual histories: the money is right after them, and a full audit is clean."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.billing.refunds import refund_cycle
from containerstacks_shared.core.errors import ContainerStacksError
from support import fleet
from support.billing import Billing, another_session

RATE = Decimal("0.01")


async def test_a_plan_that_is_deleted_and_recreated_in_one_transaction_costs_its_new_price(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    instance = await billing.bill_instance(hours_due=1)
    await billing.pass_hours(1)
    async with connection.transaction():
        await connection.execute("delete from vps_plans where id = $1", billing.plan.id)
        named = {"id": billing.plan.id, "name": "anew", "provider_plan_id": billing.plan.provider_plan_id}
        await fleet.insert(
            connection, "vps_plans", named | {"base_price": Decimal("14.60"), "markup_price": Decimal(0)}
        )
    await billing.pass_hours(1)
    await billing.run()
    # Two hours had begun before, and the third began when the billing.plan was there again.
    assert await billing.balance() == 100 - 3 * RATE
    assert await billing.hours_billed(instance) == 3
    await billing.pass_hours(1)
    await billing.run()
    assert await billing.balance() == 100 - 3 * RATE - Decimal("0.02")
    assert await billing.verify() == []


async def test_a_recreated_organization_owes_nothing(billing: Billing) -> None:
    first = await fleet.add_organization(billing.connection, balance="0.01")
    in_debt = await billing.add_instance(first, hours_due=3)
    deleted = await billing.bill_instance(first, hours_due=2)
    assert len(await billing.open_debts()) == 2
    await billing.connection.execute("delete from vps_instances where id = $1", deleted)
    await fleet.delete_and_restore(billing.connection, first.id)
    wallet = await fleet.add_wallet(billing.connection, first.id, balance="5.00")
    again = await billing.bill_instance(first, hours_due=2)
    assert await billing.balance(wallet) == Decimal("5.00") - 2 * RATE
    assert await billing.hours_billed(again) == 2
    assert await billing.open_debts() == {}
    assert await billing.verify() == []
    (decision,) = await billing.connection.fetch("select * from billing_corrections")
    assert (decision["kind"], decision["organization_id"]) == ("organization_deleted", first.id)
    assert decision["author"] == await billing.connection.fetchval("select session_user")
    closed = await billing.connection.fetch(
        "select * from vps_debts where billing_correction_id = $1", decision["id"]
    )
    assert {debt["vps_instance_id"] for debt in closed} == {in_debt, deleted}
    buried = await billing.connection.fetch(
        "select id from deleted_vps_instances where billing_correction_id = $1", decision["id"]
    )
    assert {row["id"] for row in buried} == {in_debt, deleted}


@pytest.mark.parametrize("decision", ["null::bigint", "id + 1000", "id"])
async def test_an_earlier_deletion_does_not_explain_a_later_write_off(
    billing: Billing, decision: str
) -> None:
    again = await fleet.add_organization(billing.connection, balance="0")
    await fleet.delete_and_restore(billing.connection, again.id)
    instance = await billing.bill_instance(again, hours_due=2)
    assert await billing.verify() == []
    await billing.connection.execute(
        f"update vps_debts set written_off_at = clock_now(), billing_correction_id = (select {decision}"
        " from billing_corrections)"
    )
    named = {(finding.check, finding.key) for finding in await billing.verify()}
    assert ("written_off_by_nobody", str(instance)) in named


async def test_an_instance_that_moves_there_and_back_within_an_hour_is_paid_once(billing: Billing) -> None:
    other = await fleet.add_organization(billing.connection)
    instance = await billing.add_instance(hours_due=1.5)
    for owner in (other, billing.organization):
        await billing.connection.execute(
            "update vps_instances set organization_id = $2 where id = $1", instance, owner.id
        )
    await billing.run()
    await billing.pass_hours(1)
    await billing.run()
    assert await billing.balance() == 100 - 2 * RATE
    assert await billing.balance(other.wallet_id) == 100
    assert await billing.verify() == []


@pytest.mark.parametrize("balance", ["-3.00", "0", "0.00000001"])
async def test_money_covers_a_negative_balance_first(billing: Billing, balance: str) -> None:
    organization = await fleet.add_organization(billing.connection, balance=balance)
    instance = await billing.bill_instance(organization, hours_due=2)
    assert await billing.hours_billed(instance) == 0
    assert await billing.balance(organization.wallet_id) == Decimal(balance)
    await billing.credit(organization, "3.01")
    await billing.run()
    hours = await billing.hours_billed(instance)
    assert hours == min(2, int((Decimal(balance) + Decimal("3.01")) / RATE))
    assert await billing.balance(organization.wallet_id) == Decimal(balance) + Decimal("3.01") - hours * RATE
    assert await billing.verify() == []


async def test_a_wallet_is_filled_exactly_to_its_limit(billing: Billing) -> None:
    await billing.add_instance(hours_due=2)
    await billing.credit(billing.organization, "9999999899.99999998", reference="huge")
    await billing.credit(billing.organization, "0.00000001", reference="tiny")
    with pytest.raises(ContainerStacksError, match=r"its wallet cannot hold 0\.00000001 USD more"):
        await billing.credit(billing.organization, "0.00000001", reference="too much")
    await billing.run()
    assert await billing.balance() == Decimal("9999999999.97999999")
    assert await billing.verify() == []


async def test_hours_paid_with_refunded_money_can_be_refunded(billing: Billing) -> None:
    organization = await fleet.add_organization(billing.connection, balance="0.01")
    instance = await billing.bill_instance(organization, hours_due=2)
    for _ in range(2):
        (cycle,) = await billing.cycles(instance)
        await refund_cycle(billing.connection, cycle["id"], reason="down", author="tests")
        assert await billing.balance(organization.wallet_id) == RATE
        await billing.run()
    assert await billing.balance(organization.wallet_id) == RATE
    assert await billing.verify() == []


# An old snapshot shows neither what others deleted since, nor at which price --------------------------------------


@pytest.fixture(params=["read_committed", "repeatable_read", "serializable"])
async def session(request: pytest.FixtureRequest, billing: Billing) -> AsyncIterator[asyncpg.Connection]:
    """Give another session, in a transaction whose snapshot has `organization` and `plan` as they are now."""
    async with another_session(billing.dsn) as session:
        await session.execute(f"begin isolation level {request.param.replace('_', ' ')}")
        known = "select count(*) from organizations o, vps_plans p where o.id = $1 and p.id = $2"
        assert await session.fetchval(known, billing.organization.id, billing.plan.id) == 1
        yield session


async def test_a_recreated_wallet_opens_with_its_balance(
    billing: Billing, session: asyncpg.Connection
) -> None:
    await billing.add_instance(hours_due=1)
    await billing.connection.execute("delete from wallets where id = $1", billing.organization.wallet_id)
    await session.execute(
        "insert into wallets (id, organization_id, balance) values ($1, $2, 50)",
        billing.organization.wallet_id,
        billing.organization.id,
    )
    await session.execute("commit")
    await billing.run()
    assert await billing.balance() == 50 - RATE
    assert await billing.verify() == []


async def test_an_instance_restored_with_an_old_mark_waits(
    billing: Billing, session: asyncpg.Connection
) -> None:
    instance = await billing.add_instance(hours_due=3)
    other = await billing.add_instance(hours_due=3)
    await billing.run()
    row = await fleet.take_out(billing.connection, instance)
    earlier = row["last_billed_at"] - timedelta(minutes=90)
    await fleet.insert(session, "vps_instances", row | {"last_billed_at": earlier})
    await session.execute("commit")
    await billing.pass_hours(1)
    await billing.run()
    assert await billing.hours_billed(instance) == 3
    assert await billing.hours_billed(other) == 4
    assert {finding.check for finding in await billing.verify()} == {"periods_beyond_last_billed"}


async def test_an_instance_restored_on_another_plan_owes_what_the_earlier_one_cost(
    billing: Billing, session: asyncpg.Connection
) -> None:
    dear = await fleet.add_plan(billing.connection, base_price="730", markup_price="0")
    instance = await billing.add_instance(hours_due=2)
    # A snapshot that knows this plan as well.
    isolation = await session.fetchval("show transaction_isolation")
    await session.execute(f"commit; begin isolation level {isolation}")
    await session.fetchval("select count(*) from vps_instances")
    row = await fleet.take_out(billing.connection, instance)
    await fleet.insert(session, "vps_instances", row | {"plan_id": dear.reference})
    await session.execute("commit")
    await billing.run()
    assert await billing.balance() == 100 - 2 * RATE
    await billing.pass_hours(2)
    await billing.run()
    # An hour had begun when it was deleted.
    assert await billing.balance() == 100 - 3 * RATE - 1
    assert await billing.verify() == []


async def test_a_price_that_changes_while_a_plan_is_first_used_in_a_region_counts_from_its_commit(
    billing: Billing, session: asyncpg.Connection
) -> None:
    await fleet.add_instance(session, billing.organization, billing.plan.provider_plan_id, region="eu")
    await billing.connection.execute(
        "update vps_plans set base_price = 14.60, markup_price = 0 where id = $1", billing.plan.id
    )
    await session.execute("commit")
    await billing.pass_hours(3.5)
    await billing.run()
    # The first hour had begun before.
    assert await billing.balance() == 100 - RATE - 2 * 2 * RATE
    assert await billing.verify() == []


async def test_a_restored_customer_is_billed_as_before(billing: Billing, session: asyncpg.Connection) -> None:
    await session.execute("commit")
    organization = await fleet.add_organization(billing.connection, balance="0.025")
    instance = await billing.add_instance(organization, hours_due=4)
    await billing.run()
    await fleet.delete_and_restore(session, organization.id, "wallets", "vps_instances")
    await billing.run()
    assert len(await billing.open_debts()) == 1
    assert await billing.verify() == []
    await billing.credit(organization, "1.00")
    await billing.run()
    assert await billing.hours_billed(instance) == 4
    assert await billing.balance(organization.wallet_id) == Decimal("1.025") - 4 * RATE
    assert await billing.verify() == []


# Here and there ---------------------------------------------------------------------------------------------------


async def test_an_instance_restored_on_another_plan_owes_earlier_hours_at_the_earlier_price(
    billing: Billing,
) -> None:
    dear = await fleet.add_plan(billing.connection, base_price="730", markup_price="0")
    instance = await billing.add_instance(hours_due=2)
    row = await fleet.take_out(billing.connection, instance)
    await fleet.insert(billing.connection, "vps_instances", row | {"plan_id": dear.reference})
    await billing.run()
    assert await billing.balance() == 100 - 2 * RATE
    await billing.pass_hours(2)
    await billing.run()
    # An hour had begun when it came again.
    assert await billing.balance() == 100 - 3 * RATE - 1
    assert await billing.verify() == []


@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe"])
async def test_hours_ignore_summer_time_and_interval_style(billing: Billing, zone: str) -> None:
    name = await billing.connection.fetchval("select quote_ident(current_database())")
    for setting in (
        f"timezone = '{zone}'",
        "intervalstyle = 'sql_standard'",
        "datestyle = 'SQL, DMY'",
    ):
        await billing.connection.execute(f"alter database {name} set {setting}")
        await billing.connection.execute(f"set {setting}")
    await billing.pass_hours(0)
    instance = await billing.add_instance(hours_due=300 * 24)
    await billing.run()
    await billing.pass_hours(1)
    await billing.connection.execute("delete from vps_instances where id = $1", instance)
    await billing.run()
    assert await billing.hours_billed(instance) == 300 * 24 + 1
    assert await billing.verify() == []
