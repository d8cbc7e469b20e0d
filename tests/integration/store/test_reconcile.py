"""Drift is found, reported and repaired; writes through the triggers cause none."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerstacks_shared.fleet import counts
from support import fleet
from support.billing import another_session
from support.databases import past_the_triggers
from support.examples import examples
from support.fleet import Organization, Plan
from support.waiting import LIMIT_SECONDS, session_waiting_for

TRUTH = "select coalesce(status, '') as status, count(*) as amount from vps_instances group by 1"


async def fold(connection: asyncpg.Connection) -> int:
    async with connection.transaction():
        return await counts.fold_deltas(connection, 10_000)


async def repair(connection: asyncpg.Connection) -> list[counts.Drift]:
    async with connection.transaction():
        return await counts.reconcile(connection)


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ("status = 'offline'", True),
        ("status = null", True),
        ("plan_id = 'another'", True),
        ('configuration = \'{"region": "another"}\'', True),
        ("status = 'offline', plan_id = 'another'", True),
        ("status = 'running'", False),
        ("label = 'another', last_billed_at = created_at", False),
    ],
)
async def test_an_update_appends_only_what_changed(
    connection: asyncpg.Connection, organization: Organization, plan: Plan, change: str, moves: bool
) -> None:
    one, *others = [await fleet.add_instance(connection, organization, plan) for _ in range(3)]
    for rows in ([one], others):
        await fold(connection)
        await connection.execute(f"update vps_instances set {change} where id = any ($1)", rows)

        assert await counts.has_deltas(connection) == moves
        assert await repair(connection) == []


async def test_the_triggers_cause_no_drift(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    instance = await fleet.add_instance(connection, organization, plan)
    await fleet.add_instance(connection, organization, plan, status=None)
    await connection.execute("update vps_instances set status = 'offline' where id = $1", instance)
    await connection.execute("delete from vps_instances where id = $1", instance)

    assert await repair(connection) == []
    await fold(connection)
    assert await repair(connection) == []


async def test_planted_drift_is_found_named_and_repaired(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await fleet.add_instance(connection, organization, plan, region="us-east")
    await fold(connection)
    await connection.execute(
        "update counts set amount = 5 where metric = 'vps_instances' and status = 'running'"
    )
    await connection.execute(
        "insert into counts (metric, status, plan_id, region, amount) values ('vps_instances', 'ghost', 'x', '', 3)"
    )

    drifts = await repair(connection)

    assert drifts == [
        counts.Drift("vps_instances", "ghost", "x", "", recorded=3, counted=0),
        counts.Drift("vps_instances", "running", plan.reference, "us-east", recorded=5, counted=1),
    ]
    assert (await counts.read_vps_statistics(connection)).by_status.running == 1
    assert (await counts.read_vps_statistics(connection)).total == 1
    assert await repair(connection) == []


async def test_rows_that_went_around_the_triggers_are_counted(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    async with past_the_triggers(connection):
        await fleet.add_instance(connection, organization, plan)
    assert (await counts.read_vps_statistics(connection)).total == 0

    drifts = await repair(connection)

    assert {drift.metric for drift in drifts} == {"vps_instances", "vps_instances_total"}
    assert (await counts.read_vps_statistics(connection)).total == 1
    assert (await counts.read_platform_statistics(connection)).vps.total == 1


async def test_counts_below_zero_are_read_as_zero_until_they_are_repaired(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await fleet.add_instance(connection, organization, plan)
    async with past_the_triggers(connection):
        restored = [await fleet.add_instance(connection, organization, plan, status="odd") for _ in range(3)]
    await connection.execute("delete from vps_instances where id = any($1)", restored)
    await connection.execute("update counts set amount = -4 where metric = 'containers_total'")
    assert await counts.is_below_zero(connection)

    details = await counts.read_vps_details(connection)
    assert details.by_raw_status == {"running": 1}
    assert [region.total for region in details.by_region] == [1]
    assert [held.total for held in details.by_plan] == [1]
    statistics = await counts.read_vps_statistics(connection)
    assert (statistics.total, statistics.by_status.other) == (1, 0)
    assert statistics.resources == details.resources
    assert statistics.resources.total_memory_gb == 4
    platform = await counts.read_platform_details(connection)
    assert (platform.vps.active, platform.containers.total) == (1, 0)

    assert await repair(connection) != []
    assert not await counts.is_below_zero(connection)
    assert await counts.read_vps_details(connection) == details


@pytest.mark.usefixtures("organization")
async def test_all_time_totals_are_raised_and_never_lowered(connection: asyncpg.Connection) -> None:
    await fold(connection)
    await connection.execute("update counts set amount = 0 where metric = 'users_total'")
    await connection.execute("update counts set amount = 40 where metric = 'organizations_total'")

    drifts = await repair(connection)

    assert drifts == [counts.Drift("users_total", "", "", "", recorded=0, counted=1)]
    platform = await counts.read_platform_statistics(connection)
    assert (platform.users.total, platform.organizations.total) == (1, 40)


async def test_truncating_during_a_recount_causes_no_drift(
    database_url: str, connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await fleet.add_instance(connection, organization, plan)
    async with another_session(database_url) as writer, another_session(database_url) as observer:
        async with writer.transaction():
            await writer.execute("truncate vps_instances")
            recount = asyncio.create_task(repair(connection))
            await session_waiting_for(observer, writer.get_server_pid())
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await recount == []
    assert (await counts.read_vps_statistics(connection)).total == 0


# Any history ------------------------------------------------------------------------------------

statuses = st.sampled_from(["running", "offline", "booting", "failed", "odd", None])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), statuses, st.integers(1, 3)),
        st.tuples(st.just("update"), statuses, statuses),
        st.tuples(st.just("resize"), statuses),
        st.tuples(st.just("delete"), statuses),
        st.tuples(st.just("truncate")),
        st.tuples(st.just("fold"), st.integers(1, 4)),
        st.tuples(st.just("reconcile")),
    ),
    max_size=12,
)


@examples(25)
@given(history=st.lists(st.tuples(steps, st.booleans()), max_size=4))
async def test_counts_are_exact_after_any_history(
    connection: asyncpg.Connection,
    organization: Organization,
    plan: Plan,
    history: Sequence[tuple[Sequence[tuple[Any, ...]], bool]],
) -> None:
    for happenings, kept in history:
        transaction = connection.transaction()
        await transaction.start()
        for step in happenings:
            await _happen(connection, organization, plan, step)
        await (transaction.commit() if kept else transaction.rollback())
        await _assert_exact(connection)


async def _happen(
    connection: asyncpg.Connection, organization: Organization, plan: Plan, step: tuple[Any, ...]
) -> None:
    match step:
        case ("insert", status, amount):
            for _ in range(amount):
                await fleet.add_instance(connection, organization, plan, status=status)
        case ("update", before, after):
            await connection.execute(
                "update vps_instances set status = $2 where status is not distinct from $1", before, after
            )
        case ("resize", status):
            await connection.execute(
                "update vps_instances set plan_id = 'other' where status is not distinct from $1", status
            )
        case ("delete", status):
            await connection.execute("delete from vps_instances where status is not distinct from $1", status)
        case ("truncate",):
            await connection.execute("truncate vps_instances")
        case ("fold", limit):
            await counts.fold_deltas(connection, limit)
        case ("reconcile",):
            assert await counts.reconcile(connection) == []


async def _assert_exact(connection: asyncpg.Connection) -> None:
    details = await counts.read_vps_details(connection)
    truth = {row["status"]: row["amount"] for row in await connection.fetch(TRUTH)}
    on_plan = await connection.fetchval("select count(*) from vps_instances where plan_id <> 'other'")
    assert details.by_raw_status == truth
    assert details.resources.total_vcpus == Decimal(2 * on_plan)
