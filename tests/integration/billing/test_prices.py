"""What an hour costs: which plan row is meant, what it says, and what it said at the hour's start."""

import secrets
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from support import fleet
from support.billing import Billing
from support.fleet import Plan

CENT = Decimal("0.01")
FALLBACK = Decimal("0.027")


async def rate_of(billing: Billing, plan: Plan | str, *, region: str) -> Decimal:
    """What the first hour of a new instance is charged."""
    instance = await billing.add_instance(plan=plan, region=region, hours_due=1)
    await billing.run()
    (cycle,) = await billing.cycles(instance)
    rate: Decimal = cycle["hourly_rate"]
    return rate


async def add_nanode(billing: Billing, price: str, **fields: Any) -> Plan:
    """Add one of several plans that the provider calls `g6-nanode-1`."""
    return await fleet.add_plan(
        billing.connection, base_price=price, markup_price="0", provider_plan_id="g6-nanode-1", **fields
    )


# Which plan -------------------------------------------------------------------------------------


async def test_an_exact_plan_id_goes_before_any_provider_id(billing: Billing) -> None:
    exact = await fleet.add_plan(billing.connection, base_price="7.30", markup_price="0", region="eu-west")
    # Another plan bears that id as its provider's name, in the instance's very region.
    await fleet.add_plan(
        billing.connection, base_price="73", provider_plan_id=exact.reference, region="us-east"
    )
    assert await rate_of(billing, exact, region="us-east") == CENT


async def test_a_provider_id_means_the_plan_of_the_instances_region(billing: Billing) -> None:
    for price, region in (("7.30", "us-east"), ("14.60", "eu-west"), ("21.90", "ap-south")):
        await add_nanode(billing, price, region=region)
    assert await rate_of(billing, "g6-nanode-1", region="eu-west") == 2 * CENT
    assert await rate_of(billing, "g6-nanode-1", region="ap-south") == 3 * CENT


async def test_a_region_of_any_length_is_taken_and_has_its_price(billing: Billing) -> None:
    # Longer than an index takes, and random, so that it cannot be compressed.
    endless = secrets.token_hex(4800)
    for price, region in (("7.30", "us-east"), ("14.60", endless)):
        await add_nanode(billing, price, region=region)
    assert await rate_of(billing, "g6-nanode-1", region=endless) == 2 * CENT
    assert await billing.connection.fetchval("select sum(amount) from vps_counts_now") == 1


async def test_a_provider_id_in_a_region_without_plan_means_the_oldest_active_one(billing: Billing) -> None:
    for price, active, age in (("7.30", False, 30), ("14.60", True, 20), ("21.90", True, 10)):
        plan = await add_nanode(billing, price, active=active)
        await billing.connection.execute(
            "update vps_plans set created_at = now() - $2::interval where id = $1",
            plan.id,
            timedelta(days=age),
        )
    assert await rate_of(billing, "g6-nanode-1", region="us-east") == 2 * CENT


async def test_touching_a_plan_row_moves_no_rate(billing: Billing, connection: asyncpg.Connection) -> None:
    for price in ("7.30", "73.00"):
        await add_nanode(billing, price)
    assert await rate_of(billing, "g6-nanode-1", region="us-east") == CENT
    # A new row version, now the last one in the table.
    await connection.execute("update vps_plans set name = name || '!' where base_price = 7.30")
    assert await rate_of(billing, "g6-nanode-1", region="us-east") == CENT
    assert await connection.fetchval("select count(*) from hourly_rates where plan_id = 'g6-nanode-1'") == 2


@pytest.mark.parametrize("by", ["id", "provider id"])
async def test_a_withdrawn_plan_is_still_billed_where_it_is_used(billing: Billing, by: str) -> None:
    plan = await fleet.add_plan(billing.connection, active=False)
    reference = plan if by == "id" else plan.provider_plan_id
    assert await rate_of(billing, reference, region="us-east") == CENT


async def test_a_withdrawn_plan_of_the_region_goes_before_an_active_one_elsewhere(billing: Billing) -> None:
    for price, region, active in (("7.30", "eu-west", True), ("14.60", "us-east", False)):
        await add_nanode(billing, price, region=region, active=active)
    assert await rate_of(billing, "g6-nanode-1", region="us-east") == 2 * CENT


# What it says -----------------------------------------------------------------------------------


async def test_an_unknown_plan_costs_the_fallback_and_is_reported(billing: Billing) -> None:
    unknown = await billing.add_instance(plan="g7-never-heard-of", hours_due=2)
    known = await billing.add_instance(hours_due=2)
    summary = await billing.run()
    assert summary.problems == [{"problem": "unknown_plan", "count": 1}]
    assert summary.status == "succeeded"
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(unknown)] == [FALLBACK]
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(known)] == [CENT]


# NaN is what a form's empty number becomes in JavaScript, and the original's columns take it.
@pytest.mark.parametrize(("base", "markup"), [(None, "1.00"), ("7.30", None), (None, None), ("NaN", "0")])
async def test_a_plan_without_a_price_costs_the_fallback_and_is_reported(
    billing: Billing, base: str | None, markup: str | None
) -> None:
    unpriced = await fleet.add_plan(billing.connection, base_price=base, markup_price=markup)
    instance = await billing.add_instance(plan=unpriced, hours_due=1)
    summary = await billing.run()
    assert summary.problems == [{"problem": "no_price", "count": 1}]
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(instance)] == [FALLBACK]


async def test_a_negative_price_is_reported_and_affects_no_other_billing(billing: Billing) -> None:
    negative = await fleet.add_plan(billing.connection, base_price="-7.30", markup_price="0")
    waiting = await billing.add_instance(plan=negative, hours_due=2)
    billed = await billing.add_instance(hours_due=2)
    summary = await billing.run()
    assert summary.problems == [{"problem": "price_held", "count": 1}]
    assert await billing.hours_billed(waiting) == 0
    assert await billing.hours_billed(billed) == 2
    assert await billing.balance() == Decimal("99.98")
    assert await billing.open_debts() == {}


@pytest.mark.parametrize("first", ["7.30", "-7.30"])
async def test_hours_of_a_negative_price_wait_until_it_is_corrected(billing: Billing, first: str) -> None:
    plan = await fleet.add_plan(billing.connection, base_price=first, markup_price="0")
    instance = await billing.add_instance(plan=plan)
    for price in ("-7.30", "-1.00"):
        await billing.connection.execute("update vps_plans set base_price = $1", Decimal(price))
        await billing.pass_hours(2)
        await billing.run()
    assert await billing.hours_billed(instance) == (1 if first == "7.30" else 0)
    await billing.connection.execute("update vps_plans set base_price = 14.60")
    await billing.pass_hours(1)
    summary = await billing.run()
    assert summary.problems == []
    assert await billing.hours_billed(instance) == 5
    rates = {cycle["hourly_rate"] for cycle in await billing.cycles(instance)}
    assert rates == ({CENT, 2 * CENT} if first == "7.30" else {2 * CENT})


async def test_hours_of_a_deleted_negative_plan_are_billed_in_the_end(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    instance = await billing.add_instance(plan="g8-wrong", hours_due=2)
    await fleet.add_plan(connection, base_price="-7.30", markup_price="0", provider_plan_id="g8-wrong")
    await billing.pass_hours(2)
    await billing.run()
    await connection.execute("delete from vps_plans")
    await billing.run()
    assert await billing.hours_billed(instance) == 4
    assert {cycle["hourly_rate"] for cycle in await billing.cycles(instance)} == {FALLBACK}


# What it said then ------------------------------------------------------------------------------


async def test_a_new_price_is_charged_from_the_hour_that_begins_next(billing: Billing) -> None:
    instance = await billing.add_instance()
    await billing.pass_hours(2.5)
    await billing.connection.execute("update vps_plans set base_price = 12.30")
    await billing.pass_hours(2)
    await billing.run()
    first, second = await billing.cycles(instance)
    assert (first["hourly_rate"], first["metadata"]["hours_charged"]) == (CENT, 3)
    assert (second["hourly_rate"], second["metadata"]["hours_charged"]) == (2 * CENT, 1)
    assert second["billing_period_start"] == first["billing_period_end"]
    assert await billing.balance() == 100 - 5 * CENT
    assert await billing.verify() == []


async def test_a_resize_is_charged_from_the_hour_that_begins_next(billing: Billing) -> None:
    bigger = await fleet.add_plan(billing.connection, base_price="12.30")
    instance = await billing.add_instance()
    await billing.pass_hours(1.5)
    await billing.connection.execute("update vps_instances set plan_id = $1", bigger.reference)
    await billing.pass_hours(2)
    await billing.connection.execute("update vps_instances set plan_id = $1", billing.plan.reference)
    await billing.pass_hours(2)
    await billing.run()
    cycles = await billing.cycles(instance)
    assert [(cycle["hourly_rate"], cycle["metadata"]["hours_charged"]) for cycle in cycles] == [
        (CENT, 2),
        (2 * CENT, 2),
        (CENT, 1),
    ]
    assert await billing.verify() == []


async def test_a_move_to_another_region_is_charged_at_its_price_from_the_next_hour(billing: Billing) -> None:
    for price, region in (("7.30", "us-east"), ("14.60", "eu-west")):
        await add_nanode(billing, price, region=region)
    instance = await billing.add_instance(plan="g6-nanode-1", region="us-east")
    await billing.pass_hours(0.5)
    await billing.connection.execute(
        """update vps_instances set configuration = configuration || '{"region": "eu-west"}'"""
    )
    await billing.pass_hours(2)
    await billing.run()
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(instance)] == [CENT, 2 * CENT]


async def test_a_deleted_plan_costs_the_fallback_from_the_next_hour(billing: Billing) -> None:
    instance = await billing.add_instance()
    await billing.pass_hours(1.5)
    await billing.connection.execute("delete from vps_plans")
    await billing.pass_hours(2)
    summary = await billing.run()
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(instance)] == [CENT, FALLBACK]
    assert summary.problems == [{"problem": "unknown_plan", "count": 1}]


async def test_the_first_known_price_covers_the_time_before_the_plan_was_known(billing: Billing) -> None:
    now = await billing.connection.fetchval("select clock_now()")
    instance = await billing.add_instance(plan="g8-new", created_at=now - timedelta(hours=3, minutes=30))
    await billing.pass_hours(1)
    await fleet.add_plan(billing.connection, provider_plan_id="g8-new")
    await billing.pass_hours(2)
    await billing.run()
    # Known to be unknown only from when it was first seen to when the plan came.
    cycles = await billing.cycles(instance)
    assert [(cycle["hourly_rate"], cycle["metadata"]["hours_charged"]) for cycle in cycles] == [
        (CENT, 4),
        (FALLBACK, 1),
        (CENT, 1),
    ]


async def test_prices_that_change_in_one_transaction_cost_what_the_last_one_said(billing: Billing) -> None:
    instance = await billing.add_instance()
    async with billing.connection.transaction():
        for price in ("100", "200", "12.30"):
            await billing.connection.execute("update vps_plans set base_price = $1", Decimal(price))
    await billing.pass_hours(1)
    await billing.run()
    # Its first hour began before the change.
    await billing.pass_hours(1)
    await billing.run()
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(instance)] == [CENT, 2 * CENT]
