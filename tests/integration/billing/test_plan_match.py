"""For any plans and any changes of them, the rate in force is that of the plan that the rule selects."""

import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from support.examples import examples
from support.plan_match import meant_plan

DAY = timedelta(days=1)
REFERENCES = ("small", "large", "unheard-of")
REGIONS = ("us-east", "eu-west", "")

prices = st.one_of(st.none(), st.decimals(Decimal(0), Decimal(99), places=2, allow_nan=False))
specifications = st.sampled_from(
    (
        '{"region": "us-east"}',
        '{"region_id": "eu-west"}',
        '{"region": "ap-south", "region_id": "us-east"}',
        "{}",
        '"none"',
    )
)
plans = st.tuples(
    st.sampled_from(REFERENCES[:2]), specifications, prices, prices, st.booleans(), st.integers(0, 2)
)
changes = st.tuples(
    st.sampled_from(("price", "region", "active", "provider", "delete")), st.integers(0, 5), plans
)


@examples(25)
@given(st.lists(plans, max_size=5), st.lists(changes, max_size=5), st.lists(plans, max_size=2))
async def test_the_rate_in_force_is_that_of_the_matching_plan(
    connection: asyncpg.Connection, first: list[Any], life: list[Any], second: list[Any]
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        for plan in first:
            await insert(connection, plan)
        ids = [str(row["id"]) for row in await connection.fetch("select id from vps_plans order by id")]
        references = [(reference, region) for reference in (*REFERENCES, *ids) for region in REGIONS]
        await connection.execute(
            "select register_rates($1, $2)", *(list(column) for column in zip(*references, strict=True))
        )
        for what, number, plan in life:
            await change(connection, what, number, plan)
        for plan in second:
            await insert(connection, plan)
        # As a commit would: edits count from there.
        await connection.execute("set constraints all immediate")
        await assert_rates(connection, references)
    finally:
        await transaction.rollback()


async def insert(connection: asyncpg.Connection, plan: tuple[Any, ...]) -> None:
    reference, details, base, markup, active, age = plan
    await connection.execute(
        "insert into vps_plans (name, provider_plan_id, specifications, base_price, markup_price, active, created_at)"
        " values ('Plan', $1, $2, $3, $4, $5, $6)",
        reference,
        json.loads(details),
        base,
        markup,
        active,
        datetime(2026, 1, 1, tzinfo=UTC) - age * DAY,
    )


async def change(connection: asyncpg.Connection, what: str, number: int, plan: tuple[Any, ...]) -> None:
    reference, details, base, markup, active, _ = plan
    target = "where id = (select id from vps_plans order by id offset $1 limit 1)"
    match what:
        case "price":
            await connection.execute(
                f"update vps_plans set base_price = $2, markup_price = $3 {target}", number, base, markup
            )
        case "region":
            await connection.execute(
                f"update vps_plans set specifications = $2 {target}", number, json.loads(details)
            )
        case "active":
            await connection.execute(f"update vps_plans set active = $2 {target}", number, active)
        case "provider":
            await connection.execute(
                f"update vps_plans set provider_plan_id = $2 {target}", number, reference
            )
        case _:
            await connection.execute(f"delete from vps_plans {target}", number)


async def assert_rates(connection: asyncpg.Connection, references: list[tuple[str, str]]) -> None:
    rows = await connection.fetch("select * from vps_plans")
    for reference, region in references:
        meant = meant_plan(rows, reference, region)
        rate = await connection.fetchrow(
            "select hourly_rate, vps_plan_id from hourly_rates where plan_id = $1 and region = rate_region($1, $2)"
            " and effective_to = 'infinity'",
            reference,
            region,
        )
        assert rate is not None
        assert rate["vps_plan_id"] == (meant and meant["id"])
        assert rate["hourly_rate"] == hourly(meant)


def hourly(plan: Any) -> Decimal:
    if plan is None or plan["base_price"] is None or plan["markup_price"] is None:
        return Decimal("0.027")
    price: Decimal = plan["base_price"] + plan["markup_price"]
    return (price / 730).quantize(Decimal("1e-8"), ROUND_HALF_UP)
