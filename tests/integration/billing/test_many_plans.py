"""Ten thousand plans: their rates are current in a moment, and no run waits for them."""

import time
from decimal import Decimal

import pytest

from support import fleet
from support.billing import Billing

# One, on a machine that does nothing else.
SECONDS = 10.0

# Rows per region of few plans, as panels have them, or one plan in very many regions.
_INSERT = """
insert into vps_plans (name, provider_plan_id, base_price, markup_price, specifications)
select 'Plan ' || n, 'g6-' || n % $2::integer, 7.30, 0, jsonb_build_object('region', 'region-' || n / $2::integer)
  from generate_series($3::integer, $3::integer + $1::integer - 1) n
"""


@pytest.mark.parametrize("names", [1, 100])
async def test_the_rates_of_ten_thousand_plans_are_current_within_a_second(
    billing: Billing, *, names: int
) -> None:
    await billing.connection.execute(_INSERT, 9000, names, 0)
    began = time.perf_counter()
    await billing.connection.execute(_INSERT, 1000, names, 9000)
    inserted = time.perf_counter() - began
    # Two of each plan, the customer's included.
    assert await billing.connection.fetchval("select count(*) from hourly_rates") == 20_002
    instance = await billing.add_instance(plan="g6-0", region="region-7", hours_due=1)
    began = time.perf_counter()
    await billing.connection.execute("select heal_rates()")
    refreshed = time.perf_counter() - began
    assert max(inserted, refreshed) < SECONDS, (inserted, refreshed)
    assert (await billing.run()).problems == []
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(instance)] == [Decimal("0.01")]


async def test_one_plan_that_had_fifty_thousand_prices_is_billed_like_any_other(billing: Billing) -> None:
    plan = await fleet.add_plan(billing.connection)
    await billing.connection.execute(
        "insert into hourly_rates (plan_id, region, effective_from, effective_to, hourly_rate, vps_plan_id)"
        " select $1::uuid::text, '', now() - interval '2 days' + n * interval '1 second',"
        " now() - interval '2 days' + (n + 1) * interval '1 second', 0.01, $1::uuid"
        " from generate_series(1, 50000) n",
        plan.id,
    )
    for _ in range(200):
        await billing.add_instance(plan=plan, hours_due=1)
    began = time.perf_counter()
    await billing.run()
    assert time.perf_counter() - began < SECONDS
    assert await billing.connection.fetchval("select sum(hours_billed) from billing_runs") == 200
