"""How fast the fleet is billed, beside the same rows written by one bare statement."""

import asyncio
import resource
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from containerstacks_shared.migrations import migrate
from support.databases import DatabaseServer
from support.processes import SCRIPTS

# The same tables, indexes and row contents; no triggers, no checks, no decisions.
_CLONES = """
create table floor_{table} (like {table} including defaults including indexes including storage)
"""
_CLONED = ("vps_instances", "wallets", "payment_transactions", "vps_billing_cycles", "wallet_ledger_entries")

_BARE = """
with due as materialized (
    select id, organization_id, label, last_billed_at, time_ordered_uuid() as transaction_id
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
    select time_ordered_uuid(), id, organization_id, last_billed_at, last_billed_at + interval '1 hour', 0.01, 0.01,
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


async def measure(server: DatabaseServer, *, instances: int) -> list[Result]:
    """Bill `instances` VPS by `containerstacks-billing-daemon once`, start-up and exit included."""
    results = []
    async with _database(server) as (dsn, connection):
        await make_fleet(connection, instances)
        floor = await _floor(connection)
        seconds, memory = await _once(dsn)
        rate, floor_rate = instances / seconds, instances / floor
        results.append(
            Result(
                f"billing {instances:,} due instances",
                rate,
                "instances/s",
                floor_rate,
                floor_rate / rate,
                "at least 42,000/s at a million, ratio at most 1.3",
            )
        )
        results.append(Result("memory of that run", memory, "MB", target="under 150"))
        idle = statistics.median([(await _once(dsn))[0] for _ in range(3)])
        results.append(Result(f"nothing due among {instances:,}", idle, "s", target="under 2"))
    return results


async def _floor(connection: asyncpg.Connection) -> float:
    for table in _CLONED:
        await connection.execute(_CLONES.format(table=table))
    await connection.execute("alter table floor_vps_instances set (fillfactor = 70)")
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


@asynccontextmanager
async def _database(server: DatabaseServer) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    dsn = server.create("bench")
    await asyncio.to_thread(migrate, dsn)
    connection = await asyncpg.connect(dsn)
    try:
        yield dsn, connection
    finally:
        await connection.close()
        server.drop(dsn.rsplit("/", 1)[1])
