"""Counts plus unfolded deltas are the truth; folding moves, reconciling repairs."""

import asyncio
from typing import Any

import asyncpg
import pytest

from containerstacks_shared.database import db
from containerstacks_shared.fleet import counts
from containerstacks_shared.fleet.vps import VpsStatistics
from support import fleet
from support.billing import another_session
from support.fleet import Organization, Plan


async def fold(connection: asyncpg.Connection) -> int:
    async with connection.transaction():
        return await counts.fold_deltas(connection, 10_000)


async def as_json(connection: asyncpg.Connection) -> dict[str, Any]:
    return (await counts.read_vps_statistics(connection)).model_dump(mode="json")


async def test_an_empty_platform_counts_nothing(connection: asyncpg.Connection) -> None:
    assert await counts.read_vps_statistics(connection) == VpsStatistics()
    platform = await counts.read_platform_statistics(connection)
    assert platform.model_dump(exclude={"cache_expiry"}) == {
        "users": {"total": 0},
        "organizations": {"total": 0},
        "vps": {"total": 0},
        "containers": {"total": 0},
        "support": {"totalTickets": 0},
        "plans": {"vpsPlans": 0},
        "regions": {"total": 0},
    }


async def test_statuses_fold_into_groups_that_sum_to_the_total(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    for status in (
        "running",
        "running",
        "offline",
        "booting",
        "rebooting",
        "failed",
        "busy",
        "deleting",
        None,
    ):
        await fleet.add_instance(connection, organization, plan, status=status)

    assert await as_json(connection) == {
        "total": 9,
        "byStatus": {"running": 2, "stopped": 1, "provisioning": 1, "rebooting": 1, "error": 1, "other": 3},
        "resources": {"totalVCPUs": 18, "totalMemoryGB": 36, "totalDiskGB": 720},
    }


@pytest.mark.parametrize(
    ("specifications", "vcpus", "memory_gb", "disk_gb"),
    [
        ({"vcpus": 1, "memory": 1024, "disk": 25600}, 1, 1, 25),
        ({"cpu_cores": 4, "memory_gb": 8, "storage_gb": 160}, 4, 8, 160),
        ({"vcpus": "2", "memory_mb": "1536", "storage_mb": "1000"}, 2, 1.5, 0.98),
        ({"vcpus": 0.5, "memory": 512, "disk": 10240}, 0.5, 0.5, 10),
        ({"vcpus": "many", "memory": 2048}, 0, 2, 0),
        ({}, 0, 0, 0),
    ],
)
async def test_resources_follow_every_spelling_of_a_specification(
    *,
    connection: asyncpg.Connection,
    organization: Organization,
    specifications: dict[str, object],
    vcpus: float,
    memory_gb: float,
    disk_gb: float,
) -> None:
    plan = await fleet.add_plan(connection, specifications=specifications)
    await fleet.add_instance(connection, organization, plan)

    resources = (await as_json(connection))["resources"]

    assert resources == {"totalVCPUs": vcpus, "totalMemoryGB": memory_gb, "totalDiskGB": disk_gb}


async def test_resources_follow_a_plan_edit_and_a_resize(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    larger = await fleet.add_plan(connection, specifications={"vcpus": 8, "memory": 16384, "disk": 327680})
    instance = await fleet.add_instance(connection, organization, plan)

    await connection.execute(
        "update vps_instances set plan_id = $1 where id = $2", larger.reference, instance
    )
    assert (await as_json(connection))["resources"]["totalVCPUs"] == 8

    await connection.execute(
        "update vps_plans set specifications = specifications || '{\"vcpus\": 10}' where id = $1", larger.id
    )
    assert (await as_json(connection))["resources"]["totalVCPUs"] == 10


async def test_a_provider_plan_id_means_the_plan_of_the_instances_region(
    connection: asyncpg.Connection, organization: Organization
) -> None:
    for region, vcpus in (("us-east", 1), ("eu-west", 2)):
        await fleet.add_plan(
            connection,
            provider_plan_id="g6-nanode-1",
            region=region,
            specifications={"vcpus": vcpus, "memory": 1024, "disk": 1024},
        )
    await fleet.add_instance(connection, organization, "g6-nanode-1", region="us-east")
    await fleet.add_instance(connection, organization, "g6-nanode-1", region="eu-west")

    assert (await as_json(connection))["resources"]["totalVCPUs"] == 3


async def test_details_say_what_the_figures_are_made_of(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    broken = await fleet.add_plan(connection, specifications={"vcpus": "many", "memory": -1})
    await fleet.add_plan(connection, specifications={}, active=False)
    await fleet.add_instance(connection, organization, plan, region="us-east")
    await fleet.add_instance(connection, organization, plan, region="eu-west", status="offline")
    await fleet.add_instance(connection, organization, broken, region="eu-west", status=None)
    await fleet.add_instance(connection, organization, "nobody-knows", region="eu-west")

    details = await counts.read_vps_details(connection)

    assert details.total == 4
    assert details.by_raw_status == {"": 1, "offline": 1, "running": 2}
    assert {entry.region: entry.total for entry in details.by_region} == {"eu-west": 3, "us-east": 1}
    assert {(entry.plan_id, entry.vps_plan_id, entry.total) for entry in details.by_plan} == {
        (plan.reference, plan.id, 2),
        (broken.reference, broken.id, 1),
        ("nobody-knows", None, 1),
    }
    assert [(entry.vps_plan_id, entry.problem) for entry in details.invalid_specifications] == [
        (broken.id, "vcpus, memory, disk")
    ]
    assert details.resources == (await counts.read_vps_statistics(connection)).resources


async def test_all_time_totals_survive_deletion(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await fleet.add_instance(connection, organization, plan)
    await fleet.add_container(connection, organization)
    await fleet.add_ticket(connection, organization, status="closed")
    await fleet.add_ticket(connection, organization)
    await fleet.add_user(connection, role="admin")
    await fold(connection)

    before = await counts.read_platform_details(connection)
    await connection.execute("delete from users")
    after = await counts.read_platform_details(connection)

    assert (before.users.total, before.users.admins, before.users.regular) == (2, 1, 1)
    assert (before.vps.total, before.vps.active) == (1, 1)
    assert (before.support.total_tickets, before.support.open_tickets) == (2, 1)
    assert (after.users.total, after.users.admins, after.users.regular) == (2, 0, 0)
    assert (after.vps.total, after.vps.active) == (1, 0)
    assert (after.organizations.total, after.containers.total, after.support.total_tickets) == (1, 1, 2)


async def test_plans_and_regions_are_those_available_now(connection: asyncpg.Connection) -> None:
    for region, active in (
        ("us-east", True),
        ("us-east", True),
        ("eu-west", True),
        ("ap-south", False),
        (None, True),
    ):
        await fleet.add_plan(connection, region=region, active=active)

    platform = await counts.read_platform_statistics(connection)

    assert (platform.plans.vps_plans, platform.regions.total) == (4, 2)


async def test_folding_moves_and_changes_nothing(connection: asyncpg.Connection) -> None:
    await fleet.add_instances(connection, "running", "offline", "running")
    before = await counts.read_vps_statistics(connection)
    pending = await counts.pending_deltas(connection)

    assert await fold(connection) == pending > 0

    assert await counts.pending_deltas(connection) == 0
    assert await counts.read_vps_statistics(connection) == before
    assert await connection.fetchval("select sum(amount) from counts where metric = 'vps_instances'") == 3
    assert await fold(connection) == 0


async def test_only_a_fold_does_not_wait_for_the_disk(connection: asyncpg.Connection) -> None:
    await connection.execute("set synchronous_commit = on")
    async with connection.transaction():
        await counts.fold_deltas(connection, 1)
        assert await connection.fetchval("show synchronous_commit") == "off"
    assert await connection.fetchval("show synchronous_commit") == "on"


async def test_a_fold_takes_no_more_than_its_limit(connection: asyncpg.Connection) -> None:
    await fleet.add_instances(connection, *["running"] * 5)
    before = await counts.read_vps_statistics(connection)
    pending = await counts.pending_deltas(connection)

    async with connection.transaction():
        assert await counts.fold_deltas(connection, pending - 1) == pending - 1

    assert await counts.pending_deltas(connection) == 1
    assert await counts.read_vps_statistics(connection) == before


async def test_a_delta_that_commits_during_a_fold_is_folded_by_the_next(
    database_url: str, connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await fold(connection)
    async with another_session(database_url) as writer, writer.transaction():
        await fleet.add_instance(writer, organization, plan)
        assert await fold(connection) == 0
    assert (await counts.read_vps_statistics(connection)).total == 1
    assert await fold(connection) > 0
    assert (await counts.read_vps_statistics(connection)).total == 1


async def test_two_folds_at_once_count_nothing_twice(connection: asyncpg.Connection, pool: db.Pool) -> None:
    await fleet.add_instances(connection, *["running"] * 20)
    before = await counts.read_vps_statistics(connection)
    pending = await counts.pending_deltas(connection)

    async def fold_some() -> int:
        async with pool.acquire() as folder, folder.transaction():
            return await counts.fold_deltas(folder, 7)

    folded = 0
    while some := sum(await asyncio.gather(*(fold_some() for _ in range(4)))):
        folded += some

    assert folded == pending
    assert await counts.read_vps_statistics(connection) == before


# Operators, functions, tables and a type in front of the real ones. None does what its name says.
IN_FRONT = """
create schema in_front;
create function in_front.refuse() returns boolean language plpgsql as
    $$ begin raise exception 'this is not the operator that was meant'; end $$;
create function in_front.refuse(text, text) returns boolean return in_front.refuse();
create function in_front.refuse(bigint, integer) returns boolean return in_front.refuse();
create function in_front.refuse(numeric, integer) returns boolean return in_front.refuse();
create function in_front.refuse(xid8, xid8) returns boolean return in_front.refuse();
create function in_front.refuse(bigint) returns bigint return in_front.refuse()::integer;
create operator in_front.= (function = in_front.refuse, leftarg = text, rightarg = text);
create operator in_front.= (function = in_front.refuse, leftarg = xid8, rightarg = xid8);
create operator in_front.<> (function = in_front.refuse, leftarg = text, rightarg = text);
create operator in_front.<> (function = in_front.refuse, leftarg = numeric, rightarg = integer);
create operator in_front.> (function = in_front.refuse, leftarg = bigint, rightarg = integer);
create operator in_front.- (function = in_front.refuse, rightarg = bigint);
create aggregate in_front.count(*) (sfunc = int8inc, stype = bigint, initcond = '1000');
create aggregate in_front.sum(bigint) (sfunc = int8pl, stype = bigint, initcond = '1000');
create aggregate in_front.array_agg(text) (sfunc = array_append, stype = text[], initcond = '{in front}');
create function in_front.pg_current_xact_id() returns xid8 return case when in_front.refuse() then '0'::xid8 end;
create function in_front.configured_region(jsonb) returns text return 'in front';
create function in_front.stays_where_it_is(text, jsonb, text, jsonb) returns boolean return in_front.refuse();
create function in_front.announce_count_deltas() returns boolean return in_front.refuse();
create function in_front.note_counted(text[], text[]) returns boolean return in_front.refuse();
create domain in_front.text as pg_catalog.text check (value = 'in front');
create table in_front.count_deltas (like public.count_deltas);
create table in_front.charges_at_work (like public.charges_at_work including defaults);
-- Somebody else charges meanwhile.
insert into public.charges_at_work default values;
"""


async def test_names_of_a_writers_own_do_not_stand_in_for_those_of_the_trigger(
    database_url: str, connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    one, _, _ = [await fleet.add_instance(connection, organization, plan) for _ in range(3)]
    await connection.execute(IN_FRONT)
    async with another_session(database_url) as writer:
        await writer.execute("set search_path = in_front, public, pg_catalog")
        await writer.execute("update vps_instances set status = 'failed' where id = $1", one)
        appended = await connection.fetchval("select count(*) from count_deltas")
        await writer.execute("update vps_instances set label = 'renamed' where id = $1", one)
        await writer.execute("update vps_instances set label = 'renamed'")
        assert await connection.fetchval("select count(*) from count_deltas") == appended
        async with writer.transaction():
            await writer.execute("insert into in_front.charges_at_work default values")
            await writer.execute("update vps_instances set status = 'offline'")
    assert await connection.fetchval("select count(*) from in_front.count_deltas") == 0
    counted = await connection.fetchrow("select status, plan_id, region, amount from vps_counts_now")
    assert counted is not None
    assert tuple(counted) == ("offline", plan.reference, "us-east", 3)


@pytest.mark.parametrize(
    "change",
    [
        "label = 'renamed'",
        'configuration = configuration || \'{"image": "another"}\'',
        'configuration = configuration || \'{"region": "eu-west"}\'',
        "configuration = null",
        "plan_id = 'another'",
    ],
)
@pytest.mark.parametrize("rows", ["where label = 'the one'", ""])
async def test_a_status_is_counted_whatever_changes_with_it(
    connection: asyncpg.Connection, organization: Organization, plan: Plan, change: str, rows: str
) -> None:
    for label in ("the one", "another"):
        await fleet.add_instance(connection, organization, plan, label=label)
    await connection.execute(f"update vps_instances set status = 'offline', {change} {rows}")
    await connection.execute(f"update vps_instances set {change} {rows}")
    assert await connection.fetchval("select count(*) from vps_instances where status = 'offline'") > 0
    async with connection.transaction():
        assert await counts.reconcile(connection) == []
