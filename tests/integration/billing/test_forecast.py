"""The dry run writes nothing, and says exactly what the run that follows will do."""

from decimal import Decimal
from uuid import UUID

from containerstacks_shared.billing.forecast import OrganizationForecast, dry_run
from support import fleet
from support.billing import Billing


async def forecast(billing: Billing) -> dict[UUID, OrganizationForecast]:
    return {forecast.organization_id: forecast for forecast in await dry_run(billing.connection)}


async def test_a_dry_run_writes_nothing_and_agrees_with_the_run_that_follows(billing: Billing) -> None:
    poor = await fleet.add_organization(billing.connection, balance="0.05")
    walletless = await fleet.add_organization(billing.connection, balance=None)
    nobody = await fleet.add_organization(billing.connection, balance="1.00")
    for owner, reference, hours in (
        (billing.organization, billing.plan, 9),
        (billing.organization, "g7-never-heard-of", 2),
        (poor, billing.plan, 4),
        (poor, billing.plan, 3.5),
        (walletless, billing.plan, 6),
        (nobody, billing.plan, 0.5),
    ):
        await billing.add_instance(owner, reference, hours_due=hours)
    deleted = await billing.add_instance(poor, hours_due=2)
    await billing.connection.execute("delete from vps_instances where id = $1", deleted)
    before = await billing.everything()
    forecasts = await forecast(billing)
    assert await billing.everything() == before

    assert set(forecasts) == {billing.organization.id, poor.id, walletless.id}
    rich = forecasts[billing.organization.id]
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
            balance = await billing.connection.fetchval(
                "select balance from wallets where organization_id = $1", entry.organization_id
            )
            assert balance == entry.balance - entry.amount_payable


async def test_a_dry_run_splits_where_the_rate_changed_and_leaves_held_hours_out(billing: Billing) -> None:
    await billing.add_instance()
    await billing.pass_hours(1.5)
    await billing.connection.execute("update vps_plans set base_price = 12.30")
    await billing.pass_hours(2)
    await billing.connection.execute("update vps_plans set base_price = -12.30")
    await billing.pass_hours(3)
    (entry,) = await dry_run(billing.connection)
    assert (entry.instances, entry.hours_owed) == (1, 4)
    assert entry.amount_payable == Decimal("0.06")
    assert (await billing.run()).charged.amount_billed == entry.amount_payable


async def test_a_dry_run_with_nothing_due_is_empty(billing: Billing) -> None:
    await billing.add_instance(hours_due=3)
    assert len(await dry_run(billing.connection)) == 1
    await billing.run()
    assert await dry_run(billing.connection) == []


async def test_organizations_are_named_in_order_also_beyond_one_page(billing: Billing) -> None:
    owner = await fleet.add_user(billing.connection)
    await billing.connection.execute(
        "insert into organizations (name, slug, owner_id)"
        " select 'Name ' || lpad(n::text, 4, '0'), n::text, $1 from generate_series(1, 501) as n",
        owner,
    )
    await billing.connection.execute(
        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at)"
        " select id, $1, '1', 'one', clock_now() - interval '90 minutes' from organizations where owner_id = $2",
        billing.plan.reference,
        owner,
    )
    names = [entry.name for entry in await dry_run(billing.connection)]
    assert len(names) == 501
    assert names == sorted(names, key=str)
    assert (await billing.run()).charged.instances_unpaid == 501
