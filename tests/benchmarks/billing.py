"""How fast the fleet is billed, beside the same rows written by one bare statement."""

import asyncio
import random
import resource
import statistics
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from benchmarks.surroundings import fresh_database, open_processes
from containerstacks_shared.billing.credits import credit_wallet
from containerstacks_shared.billing.documents import Biller, RunTrigger
from containerstacks_shared.billing.run import run_hourly_billing
from containerstacks_shared.core.settings import BillingSettings, load_settings
from containerstacks_shared.database.db import create_pool
from support.clock import shift_clock
from support.databases import DatabaseServer
from support.processes import SCRIPTS
from support.waiting import eventually

# The same tables, indexes and row contents; no triggers, no checks, no decisions.
_CLONES = """
create table floor_{table} (like {table} including defaults including indexes including storage)
"""
_CLONED = ("vps_instances", "wallets", "payment_transactions", "vps_billing_cycles", "wallet_ledger_entries")

_BARE = """
with due as materialized (
    select id, organization_id, label, last_billed_at,
           ('01a20000-0000-7000-8000-' || lpad(to_hex(row_number() over ()), 12, '0'))::uuid as transaction_id,
           ('01a20000-0000-7000-9000-' || lpad(to_hex(row_number() over ()), 12, '0'))::uuid as cycle_id
      from floor_vps_instances
), debit as (
    insert into floor_payment_transactions
        (id, organization_id, amount, payment_method, payment_provider, status, description, metadata,
         wallet_ledger_entry_id)
    select transaction_id, organization_id, -0.01, 'wallet_debit', 'internal', 'completed',
           'VPS Hourly Billing - ' || label || ' (1h)',
           jsonb_build_object('balance_before', 100000.00000000, 'balance_after', 99999.99000000), 1
      from due
), cycle as (
    insert into floor_vps_billing_cycles
        (id, vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount,
         status, payment_transaction_id, metadata, billing_run_id)
    select cycle_id, id, organization_id, last_billed_at, last_billed_at + interval '1 hour', 0.01, 0.01,
           'billed', transaction_id, jsonb_build_object('hours_charged', 1, 'elapsed_hours', 1.166667), 1
      from due
), entry as (
    insert into floor_wallet_ledger_entries (id, wallet_id, organization_id, kind, amount, balance_after)
    select row_number() over (), id, organization_id, 'charge', -0.5, 99999.5 from floor_wallets
), paid as (
    update floor_wallets set balance = balance - 0.5
)
update floor_vps_instances set last_billed_at = last_billed_at + interval '1 hour', updated_at = now()
"""


async def measure(server: DatabaseServer, *, instances: int, history: int) -> list[Result]:
    """Bill `instances` VPS by `containerstacks-billing-daemon once`, start-up and exit included.

    `history` is how many old cycles and transactions the run with a history finds.
    """
    return [
        *await _throughput(server, instances),
        *await _beside_others(server, instances),
        *await _with_history(server, history),
        await _cost_of_size(server, instances),
        await _top_up(server),
    ]


async def _throughput(server: DatabaseServer, instances: int) -> list[Result]:
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, instances)
        floor = await _floor(connection)
        log_before = await connection.fetchval("select pg_current_wal_insert_lsn()")
        seconds, memory = await _once(dsn)
        log_bytes = await connection.fetchval(
            "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)", log_before
        )
        idle = statistics.median([(await _once(dsn))[0] for _ in range(3)])
    rate, floor_rate = instances / seconds, instances / floor
    return [
        Result(
            f"billing {instances:,} due instances",
            rate,
            "instances/s",
            floor_rate,
            floor_rate / rate,
            "at least 42,000/s at a million, ratio at most 1.3",
        ),
        Result("write-ahead log of that run", float(log_bytes) / instances, "bytes/instance"),
        Result("memory of that run", memory, "MB", target="under 150"),
        Result(f"nothing due among {instances:,}", idle, "s", target="under 2"),
    ]


async def _beside_others(server: DatabaseServer, instances: int) -> list[Result]:
    """How long another session's `update … set status` waits during a full run."""
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, instances)
        identifiers = [row["id"] for row in await connection.fetch("select id from vps_instances")]
        alone = await _update_statuses(connection, identifiers, asyncio.create_task(asyncio.sleep(2)))
        beside = await _update_statuses(connection, identifiers, asyncio.create_task(_once(dsn)))
    floor, value = _percentile(alone, 99), _percentile(beside, 99)
    return [
        Result(
            "a status update during a full run, p99",
            value * 1000,
            "ms",
            floor * 1000,
            value / floor,
            "under 100 ms",
        )
    ]


async def _update_statuses(
    connection: asyncpg.Connection, identifiers: list[UUID], until: asyncio.Task[Any]
) -> list[float]:
    chosen = random.Random(4711)
    waits = []
    while not until.done():
        began = time.perf_counter()
        await connection.execute(
            "update vps_instances set status = $2 where id = $1",
            chosen.choice(identifiers),
            chosen.choice(("running", "stopped")),
        )
        waits.append(time.perf_counter() - began)
        # As a busy panel would: some hundred changes a second, not a flood.
        await asyncio.sleep(0.003)
    await until
    return waits


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


# More than fit into one page of an index on the instance.
_HISTORY_HOURS = 400
_HISTORY_ROUNDS = 5

_HISTORY = """
with past as materialized (
    select i.id, i.organization_id, i.label, n as hour, time_ordered_uuid() as transaction_id
      from generate_series(1, $1::integer) n, vps_instances i
), debit as (
    insert into payment_transactions
        (id, organization_id, amount, payment_method, payment_provider, status, description, metadata,
         wallet_ledger_entry_id)
    select transaction_id, organization_id, -0.01, 'wallet_debit', 'internal', 'completed',
           'VPS Hourly Billing - ' || label || ' (1h)',
           jsonb_build_object('balance_before', 100000.00000000, 'balance_after', 99999.99000000), 0
      from past
)
insert into vps_billing_cycles
    (id, vps_instance_id, organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount,
     status, payment_transaction_id, metadata, billing_run_id)
select time_ordered_uuid(), id, organization_id, now() - interval '30 days' + hour * interval '1 hour',
       now() - interval '30 days' + (hour + 1) * interval '1 hour', 0.01, 0.01, 'billed', transaction_id,
       jsonb_build_object('hours_charged', 1, 'elapsed_hours', 1.166667), 0
  from past
"""


async def _with_history(server: DatabaseServer, history: int) -> list[Result]:
    """Of few instances, so that each has a long history: what grows with it shows from a few hundred hours on."""
    instances = max(1, history // _HISTORY_HOURS)
    seconds, log_bytes = [], []
    for hours in (0, _HISTORY_HOURS):
        async with fresh_database(server) as (dsn, connection):
            await make_fleet(connection, instances)
            if hours:
                await connection.execute(_HISTORY, hours, timeout=3600)
            await connection.execute("vacuum analyze", timeout=3600)
            rounds = [await _run_after_checkpoint(dsn, connection, hour) for hour in range(_HISTORY_ROUNDS)]
        seconds.append(statistics.median(duration for duration, _ in rounds))
        log_bytes.append(statistics.median(size for _, size in rounds) / instances)
    name = f"a run of {instances:,} after {history:,} cycles of history"
    return [
        Result(name, seconds[1], "s", seconds[0], seconds[1] / seconds[0], "ratio under 1.10"),
        Result(
            "write-ahead log of that run",
            log_bytes[1],
            "bytes/instance",
            log_bytes[0],
            log_bytes[1] / log_bytes[0],
        ),
    ]


async def _run_after_checkpoint(
    dsn: str, connection: asyncpg.Connection, hours_passed: int
) -> tuple[float, float]:
    """Seconds and bytes of log of the next hour's run, start-up aside, which would hide what history costs."""
    await shift_clock(connection, timedelta(hours=hours_passed))
    # Every page is logged in whole when it first changes after this.
    await connection.execute("checkpoint", timeout=600)
    before = await connection.fetchval("select pg_current_wal_insert_lsn()")
    seconds = await _run(dsn)
    size = await connection.fetchval("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)", before)
    return seconds, float(size)


async def _run(dsn: str) -> float:
    pool = await create_pool(dsn, service="bench")
    began = time.perf_counter()
    await run_hourly_billing(
        pool,
        listen_dsn=dsn,
        biller=Biller.DAEMON,
        trigger=RunTrigger.ONCE,
        settings=load_settings(BillingSettings, database_url=dsn),
    )
    seconds = time.perf_counter() - began
    await pool.close()
    return seconds


async def _cost_of_size(server: DatabaseServer, instances: int) -> Result:
    """Microseconds of an instance in a small and in a large fleet, start-up aside."""
    microseconds = []
    for size in (10_000, instances):
        async with fresh_database(server) as (dsn, connection):
            await make_fleet(connection, size)
            microseconds.append(await _run(dsn) / size * 1e6)
    small, large = microseconds
    name = f"cost of an instance among {instances:,}, beside 10,000"
    return Result(name, large, "µs", small, large / small, "ratio under 1.15")


async def _top_up(server: DatabaseServer) -> Result:
    """From the commit of a credit until its debts are settled, by a running daemon."""
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, 1000)
        await connection.execute("update wallets set balance = 0")
        async with open_processes() as processes:
            await processes.start_billing_daemon(dsn)
            await eventually(lambda: _debts(connection, at_least=1000), 30)
            organizations = await connection.fetch("select id from organizations limit 9")
            seconds = [await _settle(connection, row["id"]) for row in organizations]
    return Result("from a top-up to settled debts", statistics.median(seconds), "s", target="under 1")


async def _settle(connection: asyncpg.Connection, organization: UUID) -> float:
    began = time.perf_counter()
    await credit_wallet(
        connection,
        organization=str(organization),
        amount=Decimal(1000),
        reference=f"bench-{organization}",
        author="bench",
    )

    async def settled() -> bool:
        open_debts: int = await connection.fetchval(
            "select count(*) from vps_debts where organization_id = $1 and settled_at is null", organization
        )
        return open_debts == 0

    await eventually(settled, 30, pause=0.005)
    return time.perf_counter() - began


async def _debts(connection: asyncpg.Connection, *, at_least: int) -> bool:
    count: int = await connection.fetchval("select count(*) from vps_debts where settled_at is null")
    return count >= at_least


async def _floor(connection: asyncpg.Connection) -> float:
    for table in _CLONED:
        await connection.execute(_CLONES.format(table=table))
    await connection.execute("alter table floor_vps_instances set (fillfactor = 50)")
    await connection.execute("insert into floor_vps_instances select * from vps_instances", timeout=600)
    await connection.execute("insert into floor_wallets select * from wallets")
    await connection.execute("vacuum analyze", timeout=600)
    began = time.perf_counter()
    await connection.execute(_BARE, timeout=600)
    seconds = time.perf_counter() - began
    for table in _CLONED:
        await connection.execute(f"drop table floor_{table}")
    await connection.execute("checkpoint")
    return seconds


async def _once(dsn: str) -> tuple[float, float]:
    """Seconds from start to exit, and the peak memory in MB of the largest process so far."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        SCRIPTS / "containerstacks-billing-daemon",
        "once",
        env={"DATABASE_URL": dsn, "LOG_LEVEL": "error"},
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    seconds = time.perf_counter() - began
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
