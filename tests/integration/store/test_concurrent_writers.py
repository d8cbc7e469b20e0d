"""Writers of every kind at once: in any snapshot, counts and deltas together are what the tables hold."""

import asyncio
import random
from collections.abc import Sequence

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from containerstacks_shared.fleet import counts
from support import fleet
from support.examples import examples
from support.fleet import Organization, Plan

WRITERS = 4
TRANSACTIONS = 6
STATUSES = ("running", "offline", "booting", "failed", None)

# One statement is one snapshot. TRUNCATE is in none, so it is held off first.
HOLD = "lock table vps_instances in access share mode"
DIFFERENCE = """
select coalesce(status, '') as status, plan_id, configured_region(configuration) as region, count(*)
  from vps_instances group by 1, 2, 3
except
select status, plan_id, region, amount from vps_counts_now
union all
(select status, plan_id, region, amount from vps_counts_now
 except
 select coalesce(status, ''), plan_id, configured_region(configuration), count(*)
   from vps_instances group by 1, 2, 3)
"""
TOTALS = "select metric, amount from totals_now order by metric"


class Undone(Exception):  # noqa: N818 - not an error
    """A writer that changed its mind."""


async def test_a_planted_difference_is_seen(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await fleet.add_instance(connection, organization, plan)
    assert await connection.fetch(DIFFERENCE) == []
    await connection.execute("delete from count_deltas where metric = 'vps_instances'")
    assert len(await connection.fetch(DIFFERENCE)) == 1


@examples(5)
@given(seeds=st.lists(st.integers(0, 2**32), min_size=WRITERS, max_size=WRITERS))
async def test_counts_are_exact_in_every_snapshot_among_concurrent_writers(
    database_url: str,
    connection: asyncpg.Connection,
    organization: Organization,
    plan: Plan,
    seeds: Sequence[int],
) -> None:
    # Two bulk writers may deadlock; the loser is one more rolled-back transaction.
    settings = {"deadlock_timeout": "10ms"}
    sessions = [await asyncpg.connect(database_url, server_settings=settings) for _ in range(WRITERS + 1)]
    *writers, folder = sessions
    writing = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            folding = group.create_task(_fold_until(writing, folder))
            looking = group.create_task(_look_until(writing, connection))
            await asyncio.gather(
                *(
                    _write(writer, organization, plan, random.Random(seed))
                    for writer, seed in zip(writers, seeds, strict=True)
                )
            )
            writing.set()
            await asyncio.gather(folding, looking)
        assert await connection.fetch(DIFFERENCE) == []
        async with connection.transaction():
            assert await counts.reconcile(connection) == []
    finally:
        for session in sessions:
            await session.close()


async def _write(
    writer: asyncpg.Connection, organization: Organization, plan: Plan, chance: random.Random
) -> None:
    for _ in range(TRANSACTIONS):
        try:
            async with writer.transaction():
                for _ in range(chance.randint(1, 4)):
                    await _step(writer, organization, plan, chance)
                _perhaps_undo(chance, 0.25)
        except (Undone, asyncpg.DeadlockDetectedError):
            pass


async def _step(
    writer: asyncpg.Connection, organization: Organization, plan: Plan, chance: random.Random
) -> None:
    if chance.random() < 0.3:
        try:
            async with writer.transaction():
                await _change(writer, organization, plan, chance)
                _perhaps_undo(chance, 0.5)
        except Undone:
            return
    else:
        await _change(writer, organization, plan, chance)


def _perhaps_undo(chance: random.Random, probability: float) -> None:
    if chance.random() < probability:
        raise Undone


async def _change(
    writer: asyncpg.Connection, organization: Organization, plan: Plan, chance: random.Random
) -> None:
    one, other = chance.choice(STATUSES), chance.choice(STATUSES)
    match chance.choices(
        ("insert", "bulk insert", "status", "plan", "delete", "truncate"), weights=(6, 2, 4, 3, 2, 1)
    ):
        case ["insert"]:
            await fleet.add_instance(writer, organization, plan, status=one)
        case ["bulk insert"]:
            await writer.execute(
                "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, status)"
                " select $1, $2, n::text, 'bulk', $3 from generate_series(1, 20) n",
                organization.id,
                plan.reference,
                one,
            )
        case ["status"]:
            await writer.execute(
                "update vps_instances set status = $2 where status is not distinct from $1", one, other
            )
        case ["plan"]:
            await writer.execute(
                "update vps_instances set plan_id = $2 where status is not distinct from $1",
                one,
                chance.choice(("other", plan.reference)),
            )
        case ["delete"]:
            await writer.execute("delete from vps_instances where status is not distinct from $1", one)
        case _:
            await writer.execute("truncate vps_instances")


async def _fold_until(over: asyncio.Event, folder: asyncpg.Connection) -> None:
    while not over.is_set():
        async with folder.transaction():
            await counts.fold_deltas(folder, 5)
        await asyncio.sleep(0)


async def _look_until(over: asyncio.Event, observer: asyncpg.Connection) -> None:
    totals: dict[str, int] = {}
    while not over.is_set():
        async with observer.transaction():
            await observer.execute(HOLD)
            assert await observer.fetch(DIFFERENCE) == []
            seen = {row["metric"]: row["amount"] for row in await observer.fetch(TOTALS)}
        assert all(seen[metric] >= amount for metric, amount in totals.items()), "a total fell"
        totals = seen
