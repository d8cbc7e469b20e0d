"""A price out of proportion holds its plan alone, and is charged to nobody unless an operator says that it is meant."""

from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.billing import price_holds
from containerstacks_shared.billing.documents import RunTrigger
from containerstacks_shared.billing.price_holds import read_held
from containerstacks_shared.core.errors import ChangeRefused
from support import fleet
from support.billing import Billing
from support.fleet import Organization, Plan

CENT = Decimal("0.01")
TYPO = Decimal("730.00")
FALLBACK = Decimal("0.027")


async def set_price(connection: asyncpg.Connection, plan: Plan, price: str | Decimal) -> None:
    await connection.execute(
        "update vps_plans set base_price = $2, markup_price = 0 where id = $1", plan.id, Decimal(price)
    )


async def rates(billing: Billing, instance: UUID) -> list[tuple[Decimal, int]]:
    cycles = await billing.connection.fetch(
        "select hourly_rate, (metadata ->> 'hours_charged')::integer as hours from vps_billing_cycles"
        " where vps_instance_id = $1 and status = 'billed' order by billing_period_start",
        instance,
    )
    return [(cycle["hourly_rate"], cycle["hours"]) for cycle in cycles]


async def is_held(connection: asyncpg.Connection) -> bool:
    return bool(
        await connection.fetchval("select exists (select from price_holds where released_at is null)")
    )


@pytest.fixture
async def instance(billing: Billing, organization: Organization, plan: Plan) -> UUID:
    """Give an instance whose plan charged 0.01 for an hour, and whose next hour has just begun."""
    return await billing.bill_instance(organization, plan, hours_due=1)


async def test_a_typing_error_holds_its_plan_and_no_other(
    billing: Billing, connection: asyncpg.Connection, organization: Organization, plan: Plan, instance: UUID
) -> None:
    other = await fleet.add_instance(connection, organization, await fleet.add_plan(connection))
    await set_price(connection, plan, TYPO)
    await billing.pass_hours(3)
    summary = await billing.run()
    assert (summary.status, summary.problems) == ("succeeded", [{"problem": "price_held", "count": 1}])
    assert await rates(billing, instance) == [(CENT, 1)]
    assert await billing.hours_billed(other) == 3
    (held,) = await read_held(connection)
    assert (held.vps_plan_id, held.hourly_rate_before, held.hourly_rate) == (plan.id, CENT, Decimal(1))
    assert held.instances == 1
    assert "more than 10 times" in held.reason


async def test_a_recreated_plan_is_compared_with_what_its_predecessor_charged(
    billing: Billing, connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    instance = await fleet.add_instance(connection, organization, plan.provider_plan_id, hours_due=1)
    await billing.run()
    for _ in range(2):
        await connection.execute("delete from vps_plans")
        anew = await fleet.add_plan(
            connection, base_price=TYPO, markup_price="0", provider_plan_id=plan.provider_plan_id
        )
    await billing.pass_hours(2)
    assert (await billing.run()).problems == [{"problem": "price_held", "count": 1}]
    assert await rates(billing, instance) == [(CENT, 1), (CENT, 1)]
    (held,) = await read_held(connection)
    assert (held.vps_plan_id, held.hourly_rate_before) == (anew.id, CENT)
    # Once it has charged, it is measured by itself.
    await set_price(connection, anew, "14.60")
    assert (await billing.run()).problems == []
    await set_price(connection, anew, "146")
    await billing.pass_hours(1)
    assert (await billing.run()).problems == []
    assert await billing.verify() == []


async def test_a_corrected_price_ends_the_hold_and_its_hours_cost_what_corrects_it(
    billing: Billing, connection: asyncpg.Connection, plan: Plan, instance: UUID
) -> None:
    await set_price(connection, plan, TYPO)
    for _ in range(3):
        await billing.pass_hours(1)
        await billing.run()
    await set_price(connection, plan, "14.60")
    await billing.pass_hours(2)
    summary = await billing.run()
    assert summary.problems == []
    assert await read_held(connection) == []
    # The hour that had begun before the typing error, then those of it and after it alike.
    first, before, *corrected = await rates(billing, instance)
    assert (first, before) == ((CENT, 1), (CENT, 1))
    assert {rate for rate, _ in corrected} == {2 * CENT}
    assert sum(hours for _, hours in corrected) == 4
    assert await billing.verify() == []


async def test_a_typing_error_that_no_run_saw_in_force_is_never_charged(
    billing: Billing, connection: asyncpg.Connection, plan: Plan, instance: UUID
) -> None:
    await set_price(connection, plan, TYPO)
    await billing.pass_hours(2)
    await set_price(connection, plan, "7.30")
    await billing.pass_hours(2)
    assert (await billing.run()).problems == []
    assert {rate for rate, _ in await rates(billing, instance)} == {CENT}
    assert await billing.hours_billed(instance) == 5


async def test_a_correction_that_is_another_typing_error_holds_on(
    billing: Billing, connection: asyncpg.Connection, plan: Plan, instance: UUID
) -> None:
    for price in ("730", "365"):
        await set_price(connection, plan, price)
        await billing.pass_hours(2)
        await billing.run()
    assert await is_held(connection)
    assert await rates(billing, instance) == [(CENT, 1)]
    await set_price(connection, plan, "14.60")
    await billing.pass_hours(1)
    await billing.run()
    assert {rate for rate, _ in await rates(billing, instance)} == {CENT, 2 * CENT}
    assert await billing.hours_billed(instance) == 6


async def test_a_released_price_is_charged_and_not_asked_about_again(
    billing: Billing, connection: asyncpg.Connection, plan: Plan, instance: UUID
) -> None:
    await set_price(connection, plan, TYPO)
    await billing.pass_hours(2)
    await billing.run()
    assert await price_holds.release(connection, plan_id=plan.id, author="tests") is not None
    await billing.run()
    await billing.pass_hours(1)
    assert (await billing.run()).problems == []
    assert await rates(billing, instance) == [(CENT, 1), (CENT, 1), (Decimal(1), 1), (Decimal(1), 1)]


@pytest.mark.parametrize(
    ("prices", "charged"),
    [
        pytest.param(("730", "365"), {CENT, Decimal("0.5")}, id="lowered: at the lower price"),
        pytest.param(("365", "730"), {CENT, Decimal("0.5"), Decimal(1)}, id="raised: as it stood"),
    ],
)
async def test_what_was_changed_while_it_was_held_is_released(
    billing: Billing,
    connection: asyncpg.Connection,
    plan: Plan,
    instance: UUID,
    *,
    prices: tuple[str, str],
    charged: set[Decimal],
) -> None:
    for price in prices:
        await set_price(connection, plan, price)
        await billing.pass_hours(2)
        await billing.run()
    await price_holds.release(connection, plan_id=plan.id, author="tests")
    assert (await billing.run()).problems == []
    assert {rate for rate, _ in await rates(billing, instance)} == charged


async def test_a_price_that_changed_since_the_operator_saw_it_is_not_released(
    billing: Billing, connection: asyncpg.Connection, plan: Plan, instance: UUID
) -> None:
    await set_price(connection, plan, TYPO)
    await billing.pass_hours(1)
    await billing.run()
    await set_price(connection, plan, TYPO * 2)
    with pytest.raises(ChangeRefused, match="has changed"):
        await price_holds.release(connection, plan_id=plan.id, author="ann", hourly_rate=Decimal(1))
    assert await is_held(connection)
    assert await rates(billing, instance) == [(CENT, 1)]
    assert await price_holds.release(connection, plan_id=plan.id, author="ann", hourly_rate=Decimal(2))
    assert not await is_held(connection)


async def test_a_corrected_typing_error_that_comes_back_is_held_again(
    billing: Billing, connection: asyncpg.Connection, plan: Plan, instance: UUID
) -> None:
    for price in (TYPO, "7.30", TYPO):
        await set_price(connection, plan, price)
        await billing.pass_hours(2)
        await billing.run()
    assert await is_held(connection)
    assert {rate for rate, _ in await rates(billing, instance)} == {CENT}


async def test_a_held_plan_that_is_withdrawn_holds_nothing_up_for_ever(
    billing: Billing, connection: asyncpg.Connection, plan: Plan, instance: UUID
) -> None:
    await set_price(connection, plan, TYPO)
    await billing.pass_hours(2)
    await billing.run()
    await connection.execute("delete from vps_plans where id = $1", plan.id)
    await billing.pass_hours(1)
    await billing.run()
    assert await read_held(connection) == []
    assert {rate for rate, _ in await rates(billing, instance)} == {CENT, FALLBACK}


async def test_a_price_that_was_ordinary_once_stays_what_its_hours_cost(
    billing: Billing, connection: asyncpg.Connection, plan: Plan, instance: UUID
) -> None:
    # Between the last charge and the typing error: in proportion, and then raised.
    await set_price(connection, plan, "36.50")
    await billing.pass_hours(2)
    await set_price(connection, plan, TYPO)
    await billing.pass_hours(2)
    await set_price(connection, plan, "7.30")
    await billing.pass_hours(1)
    await billing.run()
    billed = await rates(billing, instance)
    assert {rate for rate, _ in billed} == {CENT, 5 * CENT}
    assert sum(hours for rate, hours in billed if rate == 5 * CENT) == 2


async def test_only_a_jump_is_out_of_proportion_not_a_long_catch_up_nor_a_first_price(
    billing: Billing, connection: asyncpg.Connection, instance: UUID
) -> None:
    another = await fleet.add_organization(connection)
    dear = await fleet.add_instance(
        connection, another, await fleet.add_plan(connection, base_price="730"), hours_due=1
    )
    await billing.pass_hours(700)
    assert (await billing.run(trigger=RunTrigger.START)).problems == []
    assert await billing.hours_billed(instance) == 701
    assert await billing.hours_billed(dear) > 0


async def test_a_negative_price_is_listed_too(
    billing: Billing, connection: asyncpg.Connection, organization: Organization
) -> None:
    negative = await fleet.add_plan(connection, base_price="-7.30", markup_price="0")
    await fleet.add_instance(connection, organization, negative)
    await billing.run()
    (held,) = await read_held(connection)
    assert (held.vps_plan_id, held.reason, held.instances) == (negative.id, "its price is negative", 1)


@pytest.mark.usefixtures("instance")
async def test_an_old_hour_paid_late_says_nothing_about_the_price_of_today(
    billing: Billing, connection: asyncpg.Connection, plan: Plan
) -> None:
    debtor = await fleet.add_organization(connection, balance="0")
    await billing.bill_instance(debtor, plan, hours_due=1)
    await set_price(connection, plan, "36.50")
    await billing.pass_hours(2)
    await billing.run()
    await connection.execute("update wallets set balance = 0.01 where id = $1", debtor.wallet_id)
    await billing.run(trigger=RunTrigger.TOP_UP)
    assert await fleet.balance_of(connection, debtor) == 0
    # Six times what the latest hour cost, and thirty times what the oldest did.
    await set_price(connection, plan, "219.00")
    await billing.pass_hours(2)
    await billing.run()
    assert not await is_held(connection)
