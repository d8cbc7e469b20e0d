"""What the counting costs those who write, and how it behaves at size."""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable

import asyncpg

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from benchmarks.surroundings import first_run_ended, fresh_database, real_services, size
from containerstacks_shared.database import db
from containerstacks_shared.database.locks import Leadership, Role
from containerstacks_shared.database.notify import Channel, Listener
from containerstacks_shared.fleet import counts
from containerstacks_stats_aggregator.folding import FoldProgress, fold_until
from containerstacks_stats_aggregator.waking import WakingClock
from support.databases import DatabaseServer

_BULK = size("BENCH_BULK_ROWS", 200_000)
_WRITERS = size("BENCH_WRITERS", 32)
# So many that the start of its session hardly counts: an application's sessions live for long.
_WRITES = size("BENCH_WRITES", 400)
_ROWS_PER_WRITER = 100
_BACKLOG = size("BENCH_BACKLOG", 1_000_000)
_FLEETS = (1_000, size("BENCH_LARGE_FLEET", 1_000_000))
_ROUNDS = size("BENCH_WRITER_ROUNDS", 5)

_OURS = ("containerstacks_count_updated", "containerstacks_plan_changed")
_BULK_UPDATE = (
    "update vps_instances set status = case status when 'running' then 'offline' else 'running' end"
)
# As charge_organizations() does it: in batches of BILLING_BATCH_INSTANCES, and announced to the counts.
_BILLING_UPDATE = """
do $$
declare
    batch uuid[];
begin
    for batch in
        select array_agg(id)
          from (select id, (row_number() over (order by id) - 1) / 100 as number from organizations) as numbered
         group by number
    loop
        insert into charges_at_work default values;
        update vps_instances
           set last_billed_at = last_billed_at + interval '1 hour'
         where organization_id = any (batch);
        delete from charges_at_work;
    end loop;
end;
$$
"""
# On the server, so that no client's speed is measured: each turn of the loop is one transaction.
_SINGLE_ROWS = """
do $$
declare
    chosen uuid[] := array(select id from vps_instances where label = 'vps-{number}' limit {rows});
begin
    for turn in 1..{writes} loop
        update vps_instances set status = case status when 'running' then 'offline' else 'running' end
         where id = chosen[1 + turn % array_length(chosen, 1)];
        commit;
    end loop;
end;
$$
"""
_DELTAS = """
insert into count_deltas (metric, status, plan_id, region, amount)
select 'vps_instances', (array['running', 'offline', 'booting', 'failed'])[1 + n % 4], 'plan-' || n % 50, 'us-east',
       case n % 2 when 0 then 1 else -1 end
  from generate_series(1, $1::integer) n
"""


async def measure(server: DatabaseServer) -> list[Result]:
    results = []
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, _BULK)
        results.append(
            await _bulk(connection, _BULK_UPDATE, f"update of the status of {_BULK:,} rows", "at most 1.31")
        )
        results.append(
            await _bulk(connection, _BILLING_UPDATE, f"billing's update of {_BULK:,} rows", "at most 1.15")
        )
        results += await _backlog(dsn, connection)
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, _BULK)
        results.append(await _single_rows(dsn, connection))
    results.append(await _by_fleet_size(server))
    return results


async def _bulk(connection: asyncpg.Connection, statement: str, name: str, target: str) -> Result:
    """Take turns with and without our triggers, on a table without dead rows."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(_ROUNDS):
        for counting in (False, True):
            await _count_updates(connection, counting=counting)
            await connection.execute("vacuum vps_instances", timeout=600)
            await connection.execute("checkpoint")
            began = time.perf_counter()
            await connection.execute(statement, timeout=600)
            taken[counting].append(time.perf_counter() - began)
    await _count_updates(connection, counting=True)
    # The best of each: whatever else the machine does only ever adds.
    with_triggers, without = (min(taken[counting]) for counting in (True, False))
    return Result(name, with_triggers, "s", without, with_triggers / without, target)


async def _count_updates(connection: asyncpg.Connection, *, counting: bool) -> None:
    for trigger in _OURS:
        await connection.execute(
            f"alter table vps_instances {'enable' if counting else 'disable'} trigger {trigger}"
        )


# Many small writers -----------------------------------------------------------------------------


async def _single_rows(dsn: str, connection: asyncpg.Connection) -> Result:
    """Compare by turns without our triggers and with them, while all services run and nothing is due."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    async with real_services(dsn):
        await first_run_ended(connection)
        for _ in range(_ROUNDS):
            for counting, known in rates.items():
                await _count_updates(connection, counting=counting)
                known.append(await _rate(dsn))
        await _count_updates(connection, counting=True)
    without, counted = (statistics.median(known) for known in rates.values())
    name = f"{_WRITERS} writers of single rows, all services running"
    return Result(name, counted, "rows/s", without, counted / without, "at least 0.75")


async def _rate(dsn: str) -> float:
    writers = await asyncio.gather(*(asyncpg.connect(dsn) for _ in range(_WRITERS)))
    try:
        began = time.perf_counter()
        await asyncio.gather(
            *(
                writer.execute(
                    _SINGLE_ROWS.format(number=number, rows=_ROWS_PER_WRITER, writes=_WRITES), timeout=600
                )
                for number, writer in enumerate(writers, start=1)
            )
        )
        return _WRITERS * _WRITES / (time.perf_counter() - began)
    finally:
        await asyncio.gather(*(writer.close() for writer in writers))


# Size -------------------------------------------------------------------------------------------


async def _backlog(dsn: str, connection: asyncpg.Connection) -> list[Result]:
    """Fold what piled up while no aggregator ran, with a writer at work."""
    await _all_folded(dsn, connection)
    await connection.execute(_DELTAS, _BACKLOG, timeout=600)
    await connection.execute("vacuum analyze count_deltas", timeout=600)
    writing = asyncio.Event()
    writing.set()

    async def write() -> float:
        slowest = 0.0
        writer = await asyncpg.connect(dsn)
        instance = await writer.fetchval("select id from vps_instances limit 1")
        while writing.is_set():
            began = time.perf_counter()
            await writer.execute(_BULK_UPDATE + " where id = $1", instance)
            slowest = max(slowest, time.perf_counter() - began)
            await asyncio.sleep(0.01)
        await writer.close()
        return slowest

    writer = asyncio.create_task(write())
    seconds = await _all_folded(dsn, connection)
    writing.clear()
    return [
        Result(f"folding {_BACKLOG:,} deltas", seconds, "s", target="under 5 s"),
        Result("a writer's longest wait meanwhile", 1000 * await writer, "ms", target="not blocked"),
    ]


async def _all_folded(dsn: str, connection: asyncpg.Connection) -> float:
    """Lead as the aggregator does until at most what is being written now is left; return how long it took."""
    pool = await db.create_pool(dsn, service="bench")
    halt, progress = asyncio.Event(), FoldProgress(WakingClock())
    subscription = Listener(dsn, [Channel.COUNT_DELTAS], service="bench").subscribe()
    try:
        async with (
            Leadership(dsn, Role.STATS_AGGREGATOR, service="bench") as leadership,
            asyncio.TaskGroup() as group,
        ):
            term = await leadership.acquire(stop=asyncio.Event())
            assert term is not None
            began = time.perf_counter()
            group.create_task(
                fold_until(halt, pool=pool, term=term, subscription=subscription, progress=progress)
            )
            while await counts.pending_deltas(connection) > 100:  # noqa: ASYNC110 - rows have no event
                await asyncio.sleep(0.02)
            seconds = time.perf_counter() - began
            halt.set()
    finally:
        pool.terminate()
    return seconds


async def _by_fleet_size(server: DatabaseServer) -> Result:
    """Compare a change's way into the counts, from COMMIT to what a page reads, in a small fleet and in a large one."""
    async with fresh_database(server) as (_, small), fresh_database(server) as (_, large):
        changes: list[Callable[[], Awaitable[float]]] = []
        for connection, instances in ((small, _FLEETS[0]), (large, _FLEETS[1])):
            await make_fleet(connection, instances)
            async with connection.transaction():
                await counts.fold_deltas(connection, _FLEETS[1])
            changes.append(await _changing(connection))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(300):
            for change, known in zip(changes, times, strict=True):
                known.append(await change())
    little, much = (1000 * statistics.median(known) for known in times)
    name = f"a change until it is read, {_FLEETS[1]:,} VPS beside {_FLEETS[0]:,}"
    return Result(name, much, "ms", little, much / little, "ratio under 1.2")


async def _changing(connection: asyncpg.Connection) -> Callable[[], Awaitable[float]]:
    instances = [row["id"] for row in await connection.fetch("select id from vps_instances limit 1000")]

    async def change() -> float:
        began = time.perf_counter()
        await connection.execute(_BULK_UPDATE + " where id = $1", random.choice(instances))
        async with connection.transaction():
            await counts.fold_deltas(connection, 10_000)
        await counts.read_vps_statistics(connection)
        return time.perf_counter() - began

    return change
