"""A price out of proportion holds its plan alone, and is not charged until an operator releases it."""

from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.billing import price_holds
from containerstacks_shared.billing.documents import RunTrigger
from containerstacks_shared.billing.price_holds import read_held
from containerstacks_shared.billing.run import RunSummary
from containerstacks_shared.core.errors import ChangeRefused
from support import fleet
from support.billing import Billing
from support.fleet import Plan

CENT = Decimal("0.01")
TYPO = Decimal("730.00")
FALLBACK = Decimal("0.027")


async def set_price(billing: Billing, price: str | Decimal, plan: Plan | None = None) -> None:
    await billing.connection.execute(
        "update vps_plans set base_price = $2, markup_price = 0 where id = $1",
        (plan or billing.plan).id,
        Decimal(price),
    )


async def bill_at(billing: Billing, price: str | Decimal, *, hours: float = 2) -> RunSummary:
    """Set the plan's price, let hours pass, and run."""
    await set_price(billing, price)
    await billing.pass_hours(hours)
    return await billing.run()


async def rates(billing: Billing, instance: UUID) -> list[tuple[Decimal, int]]:
    cycles = await billing.connection.fetch(
        "select hourly_rate, (metadata ->> 'hours_charged')::integer as hours from vps_billing_cycles"
        " where vps_instance_id = $1 and status = 'billed' order by billing_period_start",
        instance,
    )
    return [(cycle["hourly_rate"], cycle["hours"]) for cycle in cycles]


async def is_held(billing: Billing) -> bool:
    return bool(
        await billing.connection.fetchval("select exists (select from price_holds where released_at is null)")
    )


@pytest.fixture
async def instance(billing: Billing) -> UUID:
    """Give an instance whose plan charged 0.01 for an hour, and whose next hour has just begun."""
    return await billing.bill_instance(hours_due=1)


async def test_a_typing_error_holds_its_plan_and_no_other(billing: Billing, instance: UUID) -> None:
    other = await billing.add_instance(plan=await fleet.add_plan(billing.connection))
    summary = await bill_at(billing, TYPO, hours=3)
    assert (summary.status, summary.problems) == ("succeeded", [{"problem": "price_held", "count": 1}])
    assert await rates(billing, instance) == [(CENT, 1)]
    assert await billing.hours_billed(other) == 3
    (held,) = await read_held(billing.connection)
    assert (held.vps_plan_id, held.hourly_rate_before, held.hourly_rate) == (
        billing.plan.id,
        CENT,
        Decimal(1),
    )
    assert held.instances == 1
    assert "more than 10 times" in held.reason


async def test_a_recreated_plan_is_compared_with_what_its_predecessor_charged(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    instance = await billing.add_instance(plan=billing.plan.provider_plan_id, hours_due=1)
    await billing.run()
    for _ in range(2):
        await connection.execute("delete from vps_plans")
        anew = await fleet.add_plan(
            connection, base_price=TYPO, markup_price="0", provider_plan_id=billing.plan.provider_plan_id
        )
    await billing.pass_hours(2)
    assert (await billing.run()).problems == [{"problem": "price_held", "count": 1}]
    assert await rates(billing, instance) == [(CENT, 1), (CENT, 1)]
    (held,) = await read_held(connection)
    assert (held.vps_plan_id, held.hourly_rate_before) == (anew.id, CENT)
    # Once it has charged, it is measured by itself.
    await set_price(billing, "14.60", anew)
    assert (await billing.run()).problems == []
    await set_price(billing, "146", anew)
    await billing.pass_hours(1)
    assert (await billing.run()).problems == []
    assert await billing.verify() == []


async def test_a_corrected_price_ends_the_hold_and_applies_to_the_held_hours(
    billing: Billing, instance: UUID
) -> None:
    await set_price(billing, TYPO)
    for _ in range(3):
        await billing.pass_hours(1)
        await billing.run()
    summary = await bill_at(billing, "14.60")
    assert summary.problems == []
    assert await read_held(billing.connection) == []
    # The hour that had begun before the typing error, then those of it and after it alike.
    first, before, *corrected = await rates(billing, instance)
    assert (first, before) == ((CENT, 1), (CENT, 1))
    assert {rate for rate, _ in corrected} == {2 * CENT}
    assert sum(hours for _, hours in corrected) == 4
    assert await billing.verify() == []


async def test_a_typing_error_that_no_run_saw_in_force_is_never_charged(
    billing: Billing, instance: UUID
) -> None:
    await set_price(billing, TYPO)
    await billing.pass_hours(2)
    assert (await bill_at(billing, "7.30")).problems == []
    assert {rate for rate, _ in await rates(billing, instance)} == {CENT}
    assert await billing.hours_billed(instance) == 5


async def test_a_correction_that_is_another_typing_error_is_held(billing: Billing, instance: UUID) -> None:
    for price in ("730", "365"):
        await bill_at(billing, price)
    assert await is_held(billing)
    assert await rates(billing, instance) == [(CENT, 1)]
    await bill_at(billing, "14.60", hours=1)
    assert {rate for rate, _ in await rates(billing, instance)} == {CENT, 2 * CENT}
    assert await billing.hours_billed(instance) == 6


async def test_a_released_price_is_charged_and_not_held_again(billing: Billing, instance: UUID) -> None:
    await bill_at(billing, TYPO)
    assert await price_holds.release(billing.connection, plan_id=billing.plan.id, author="tests") is not None
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
async def test_a_price_changed_while_held_is_released(
    billing: Billing, instance: UUID, *, prices: tuple[str, str], charged: set[Decimal]
) -> None:
    for price in prices:
        await bill_at(billing, price)
    await price_holds.release(billing.connection, plan_id=billing.plan.id, author="tests")
    assert (await billing.run()).problems == []
    assert {rate for rate, _ in await rates(billing, instance)} == charged


async def test_a_price_that_changed_since_the_operator_saw_it_is_not_released(
    billing: Billing, connection: asyncpg.Connection, instance: UUID
) -> None:
    await bill_at(billing, TYPO, hours=1)
    await set_price(billing, TYPO * 2)
    with pytest.raises(ChangeRefused, match="has changed"):
        await price_holds.release(connection, plan_id=billing.plan.id, author="ann", hourly_rate=Decimal(1))
    assert await is_held(billing)
    assert await rates(billing, instance) == [(CENT, 1)]
    assert await price_holds.release(
        connection, plan_id=billing.plan.id, author="ann", hourly_rate=Decimal(2)
    )
    assert not await is_held(billing)


async def test_a_corrected_typing_error_that_comes_back_is_held_again(
    billing: Billing, instance: UUID
) -> None:
    for price in (TYPO, "7.30", TYPO):
        await bill_at(billing, price)
    assert await is_held(billing)
    assert {rate for rate, _ in await rates(billing, instance)} == {CENT}


async def test_hours_of_a_deleted_held_plan_are_billed_in_the_end(billing: Billing, instance: UUID) -> None:
    await bill_at(billing, TYPO)
    await billing.connection.execute("delete from vps_plans where id = $1", billing.plan.id)
    await billing.pass_hours(1)
    await billing.run()
    assert await read_held(billing.connection) == []
    assert {rate for rate, _ in await rates(billing, instance)} == {CENT, FALLBACK}


async def test_a_price_in_proportion_stays_the_price_of_its_hours(billing: Billing, instance: UUID) -> None:
    # Between the last charge and the typing error: in proportion, and then raised.
    await set_price(billing, "36.50")
    await billing.pass_hours(2)
    await set_price(billing, TYPO)
    await billing.pass_hours(2)
    await bill_at(billing, "7.30", hours=1)
    billed = await rates(billing, instance)
    assert {rate for rate, _ in billed} == {CENT, 5 * CENT}
    assert sum(hours for rate, hours in billed if rate == 5 * CENT) == 2


async def test_only_a_jump_is_out_of_proportion_not_a_long_catch_up_nor_a_first_price(
    billing: Billing, connection: asyncpg.Connection, instance: UUID
) -> None:
    another = await fleet.add_organization(connection)
    dear = await billing.add_instance(
        another, await fleet.add_plan(connection, base_price="730"), hours_due=1
    )
    await billing.pass_hours(700)
    assert (await billing.run(trigger=RunTrigger.START)).problems == []
    assert await billing.hours_billed(instance) == 701
    assert await billing.hours_billed(dear) > 0


async def test_a_negative_price_is_listed_too(billing: Billing) -> None:
    negative = await fleet.add_plan(billing.connection, base_price="-7.30", markup_price="0")
    await billing.add_instance(plan=negative)
    await billing.run()
    (held,) = await read_held(billing.connection)
    assert (held.vps_plan_id, held.reason, held.instances) == (negative.id, "its price is negative", 1)


@pytest.mark.usefixtures("instance")
async def test_the_price_of_an_old_hour_paid_late_is_not_compared_with(billing: Billing) -> None:
    debtor = await fleet.add_organization(billing.connection, balance="0")
    await billing.bill_instance(debtor, hours_due=1)
    await bill_at(billing, "36.50")
    await billing.connection.execute("update wallets set balance = 0.01 where id = $1", debtor.wallet_id)
    await billing.run(trigger=RunTrigger.TOP_UP)
    assert await fleet.balance_of(billing.connection, debtor) == 0
    # Six times what the latest hour cost, and thirty times what the oldest did.
    await bill_at(billing, "219.00")
    assert not await is_held(billing)
