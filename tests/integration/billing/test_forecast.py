"""The dry run writes nothing, and says exactly what the run that follows will do."""

from decimal import Decimal
from uuid import UUID

import asyncpg

from containerstacks_shared.billing.forecast import FORECAST, OrganizationForecast, dry_run
from support import fleet
from support.billing import Billing
from support.fleet import Organization, Plan


async def forecast(billing: Billing) -> dict[UUID, OrganizationForecast]:
    return {forecast.organization_id: forecast for forecast in await dry_run(billing.connection)}


async def test_the_composed_statement_can_be_prepared(connection: asyncpg.Connection) -> None:
    await connection.prepare(FORECAST)


async def test_a_dry_run_writes_nothing_and_agrees_with_the_run_that_follows(
    billing: Billing, connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    poor = await fleet.add_organization(connection, balance="0.05")
    walletless = await fleet.add_organization(connection, balance=None)
    nobody = await fleet.add_organization(connection, balance="1.00")
    for owner, reference, hours in (
        (organization, plan, 9),
        (organization, "g7-never-heard-of", 2),
        (poor, plan, 4),
        (poor, plan, 3.5),
        (walletless, plan, 6),
        (nobody, plan, 0.5),
    ):
        await fleet.add_instance(connection, owner, reference, hours_due=hours)
    deleted = await fleet.add_instance(connection, poor, plan, hours_due=2)
    await connection.execute("delete from vps_instances where id = $1", deleted)
    before = await billing.everything()
    forecasts = await forecast(billing)
    assert await billing.everything() == before

    assert set(forecasts) == {organization.id, poor.id, walletless.id}
    rich = forecasts[organization.id]
    assert (rich.instances, rich.hours_owed, rich.hours_payable) == (2, 11, 11)
    assert rich.amount_payable == rich.amount_owed == 9 * Decimal("0.01") + 2 * Decimal("0.027")
    partly = forecasts[poor.id]
    assert (partly.instances, partly.hours_owed, partly.hours_payable) == (3, 9, 5)
    assert (partly.amount_owed, partly.amount_payable) == (Decimal("0.09"), Decimal("0.05"))
    nothing = forecasts[walletless.id]
    assert (nothing.balance, nothing.hours_owed, nothing.hours_payable) == (None, 6, 0)

    charged = (await billing.run()).charged
    assert charged.hours_billed == sum(entry.hours_payable for entry in forecasts.values())
    assert charged.amount_billed == sum(entry.amount_payable for entry in forecasts.values())
    assert charged.hours_unpaid == sum(entry.hours_owed - entry.hours_payable for entry in forecasts.values())
    for entry in forecasts.values():
        if entry.balance is not None:
            balance = await connection.fetchval(
                "select balance from wallets where organization_id = $1", entry.organization_id
            )
            assert balance == entry.balance - entry.amount_payable


async def test_a_dry_run_splits_where_the_rate_changed_and_leaves_held_hours_out(
    billing: Billing, connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await fleet.add_instance(connection, organization, plan)
    await billing.pass_hours(1.5)
    await connection.execute("update vps_plans set base_price = 12.30")
    await billing.pass_hours(2)
    await connection.execute("update vps_plans set base_price = -12.30")
    await billing.pass_hours(3)
    (entry,) = await dry_run(connection)
    assert (entry.instances, entry.hours_owed) == (1, 4)
    assert entry.amount_payable == Decimal("0.06")
    assert (await billing.run()).charged.amount_billed == entry.amount_payable


async def test_a_dry_run_of_nothing_says_nothing(
    billing: Billing, connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await fleet.add_instance(connection, organization, plan, hours_due=3)
    assert len(await dry_run(connection)) == 1
    await billing.run()
    assert await dry_run(connection) == []


async def test_organizations_are_named_in_order_also_beyond_one_page(
    billing: Billing, connection: asyncpg.Connection, plan: Plan
) -> None:
    owner = await fleet.add_user(connection)
    await connection.execute(
        "insert into organizations (name, slug, owner_id)"
        " select 'Name ' || lpad(n::text, 4, '0'), n::text, $1 from generate_series(1, 501) as n",
        owner,
    )
    await connection.execute(
        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at)"
        " select id, $1, '1', 'one', clock_now() - interval '90 minutes' from organizations",
        plan.reference,
    )
    names = [entry.name for entry in await dry_run(connection)]
    assert len(names) == 501
    assert names == sorted(names, key=str)
    assert (await billing.run()).charged.instances_unpaid == 501
