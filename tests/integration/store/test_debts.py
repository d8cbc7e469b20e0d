"""Who owes what since when, and whose money ends soon."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.billing import debts
from support import fleet
from support.billing import Billing
from support.clock import clock_now
from support.fleet import Plan


async def test_an_open_debt_has_its_start_and_amount(
    billing: Billing, connection: asyncpg.Connection, plan: Plan
) -> None:
    poor = await fleet.add_organization(connection, balance="0.02")
    created_at = await clock_now(connection) - timedelta(hours=5, minutes=30)
    instance = await fleet.add_instance(connection, poor, plan, label="web-1", created_at=created_at)
    await billing.run()
    opened_at = await connection.fetchval("select opened_at from vps_debts")
    await connection.execute("update vps_plans set base_price = 12.30 where id = $1", plan.id)
    await billing.pass_hours(3)
    (debt,) = await debts.read_open(connection)
    assert (debt.vps_instance_id, debt.organization_id, debt.label) == (instance, poor.id, "web-1")
    assert (debt.reason, debt.opened_at, debt.is_held) == ("insufficient_balance", opened_at, False)
    # Two hours were paid; four began at the old price (one of them was under way), two at the new one.
    assert debt.since == created_at + timedelta(hours=2)
    assert (debt.hours, debt.amount) == (6, 4 * Decimal("0.01") + 2 * Decimal("0.02"))


async def test_the_oldest_debts_come_first_and_deleted_instances_keep_their_names(
    billing: Billing, connection: asyncpg.Connection, plan: Plan
) -> None:
    first = await fleet.add_organization(connection, balance="0")
    second = await fleet.add_organization(connection, balance=None)
    await fleet.add_instance(connection, first, plan, label="older", hours_due=2)
    await billing.run()
    await billing.pass_hours(1)
    await fleet.add_instance(connection, second, plan, label="younger", hours_due=2)
    await billing.run()
    await connection.execute("delete from vps_instances where label = 'older'")
    listed = await debts.read_open(connection)
    assert [(debt.label, debt.hours, debt.reason) for debt in listed] == [
        ("older", 3, "insufficient_balance"),
        ("younger", 2, "no_wallet"),
    ]
    assert [debt.label for debt in await debts.read_open(connection, limit=1)] == ["older"]


async def test_a_debt_that_can_be_paid_is_not_listed_as_owed(
    billing: Billing, connection: asyncpg.Connection, plan: Plan
) -> None:
    poor = await fleet.add_organization(connection, balance="0")
    await fleet.add_instance(connection, poor, plan, hours_due=2)
    await billing.run()
    await billing.credit(poor, "5")
    (debt,) = await debts.read_open(connection)
    assert (debt.hours, debt.amount) == (0, Decimal(0))
    await billing.run()
    assert await debts.read_open(connection) == []


async def test_a_runway_counts_the_balance_after_due_hours_at_the_current_rate(
    connection: asyncpg.Connection, plan: Plan
) -> None:
    organization = await fleet.add_organization(connection, balance="10.00")
    free = await fleet.add_plan(connection, base_price="0", markup_price="0")
    for _ in range(2):
        await fleet.add_instance(connection, organization, plan, hours_due=50)
    await fleet.add_instance(connection, organization, free, hours_due=50)
    (runway,) = await debts.read_runways(connection)
    assert (runway.balance, runway.instances) == (Decimal(10), 3)
    assert (runway.hourly_amount, runway.amount_due) == (Decimal("0.02"), Decimal("1.00"))
    assert runway.hours == Decimal(450)


@pytest.mark.parametrize(
    ("balance", "hours"),
    [("0", Decimal(0)), (None, Decimal(0)), ("-5", Decimal(0)), ("0.005", Decimal("0.5"))],
)
async def test_a_balance_below_one_hour_is_a_runway_below_one_hour(
    connection: asyncpg.Connection, plan: Plan, balance: str | None, hours: Decimal
) -> None:
    organization = await fleet.add_organization(connection, balance=balance)
    await fleet.add_instance(connection, organization, plan)
    (runway,) = await debts.read_runways(connection, organizations=[organization.id])
    assert runway.hours == hours


async def test_without_hourly_costs_a_runway_has_no_end(connection: asyncpg.Connection) -> None:
    organization = await fleet.add_organization(connection, balance="1")
    await fleet.add_instance(
        connection, organization, await fleet.add_plan(connection, base_price="0", markup_price="0")
    )
    (runway,) = await debts.read_runways(connection)
    assert runway.hours is None
    assert await debts.read_runways(connection, hours_below=Decimal(10**9)) == []


async def test_the_shortest_runway_comes_first(connection: asyncpg.Connection, plan: Plan) -> None:
    add: Callable[[str], Awaitable[fleet.Organization]] = lambda balance: fleet.add_organization(  # noqa: E731
        connection, balance=balance
    )
    rich, poor, middling = await add("100"), await add("0.05"), await add("1")
    for organization in (rich, poor, middling):
        await fleet.add_instance(connection, organization, plan)
    listed = await debts.read_runways(connection)
    assert [runway.organization_id for runway in listed] == [poor.id, middling.id, rich.id]
    soon = await debts.read_runways(connection, hours_below=Decimal(72))
    assert [runway.organization_id for runway in soon] == [poor.id]
    assert len(await debts.read_runways(connection, limit=2)) == 2


async def test_a_list_of_runways_continues_after_a_deleted_organization(
    connection: asyncpg.Connection, plan: Plan
) -> None:
    organizations = [await fleet.add_organization(connection, balance=balance) for balance in ("1", "2", "3")]
    for organization in organizations:
        await fleet.add_instance(connection, organization, plan)
    (first, *_) = await debts.read_runways(connection)
    seen = debts.RunwayPosition.parse(str(debts.RunwayPosition.of(first)))
    await connection.execute("delete from vps_instances where organization_id = $1", first.organization_id)
    following = await debts.read_runways(connection, after=seen)
    assert [runway.organization_id for runway in following] == [each.id for each in organizations[1:]]
