"""How fast the money is audited, beside a bare look at the same rows."""

import asyncio
import os
import time
from datetime import timedelta

import asyncpg

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from containerstacks_shared.billing.audit import audit
from containerstacks_shared.billing.documents import Biller, RunTrigger
from containerstacks_shared.billing.run import run_hourly_billing
from containerstacks_shared.core.settings import BillingSettings, load_settings
from containerstacks_shared.database import db
from containerstacks_shared.schema import migrate
from support.clock import shift_clock
from support.databases import DatabaseServer

INSTANCES = int(os.environ.get("BENCH_AUDIT_INSTANCES", "200000"))
# Runs before the short audit, and those that it audits. A day has 24; what a run more costs tells the rest.
RUNS_BEFORE = 2
RUNS_FEW = 2
RUNS_MORE = 8
RUNS_A_DAY = 24
A_MILLION = 1_000_000

# The least work that could see every row in question.
_LOOK = """
select (select sum(total_amount) from vps_billing_cycles where billing_run_id > $1),
       (select sum(amount) from payment_transactions where wallet_ledger_entry_id > $2)
"""


async def measure(server: DatabaseServer) -> list[Result]:
    dsn = server.create("bench")
    await asyncio.to_thread(migrate, dsn)
    fleet = await asyncpg.connect(dsn)
    await make_fleet(fleet, INSTANCES)
    await fleet.close()
    pool = await db.create_pool(dsn, service="bench", command_timeout=timedelta(minutes=30))
    try:
        return await _measure(dsn, pool)
    finally:
        pool.terminate()
        server.drop(dsn.rsplit("/", 1)[1])


async def _measure(dsn: str, pool: db.Pool) -> list[Result]:
    hours = await _bill(dsn, pool, RUNS_BEFORE, hours=0)
    await _audit(pool)
    hours = await _bill(dsn, pool, RUNS_FEW, hours=hours)
    few = await _audit(pool)
    await _bill(dsn, pool, RUNS_MORE, hours=hours)
    floor = await _look(pool, runs=RUNS_MORE)
    more = await _audit(pool)
    full = await _audit(pool, full=True)
    a_run = (more - few) / (RUNS_MORE - RUNS_FEW)
    fixed = max(more - RUNS_MORE * a_run, 0.0)
    a_day = (fixed + RUNS_A_DAY * a_run) * A_MILLION / INSTANCES
    cycles = INSTANCES * (RUNS_BEFORE + RUNS_FEW + RUNS_MORE)
    return [
        Result(
            f"audit of {RUNS_MORE} new runs of {INSTANCES:,} instances",
            more,
            "s",
            floor,
            more / floor,
        ),
        Result(
            "audit of a day of a million instances (extrapolated)",
            a_day,
            "s",
            target="under 60",
        ),
        Result(f"full audit of {cycles:,} cycles", full, "s"),
    ]


async def _bill(dsn: str, pool: db.Pool, runs: int, *, hours: int) -> int:
    for _ in range(runs):
        hours += 1
        async with pool.acquire() as connection:
            await shift_clock(connection, timedelta(hours=hours), pool=pool)
        await run_hourly_billing(
            pool,
            listen_dsn=dsn,
            biller=Biller.DAEMON,
            trigger=RunTrigger.SCHEDULE,
            settings=load_settings(BillingSettings, database_url=dsn),
        )
    async with pool.acquire() as connection:
        # What autovacuum does in the meantime, and what an audit a day later finds done.
        await connection.execute("vacuum analyze", timeout=600)
    return hours


async def _audit(pool: db.Pool, *, full: bool = False) -> float:
    async with pool.acquire() as connection:
        began = time.perf_counter()
        done = await audit(connection, full=full)
        seconds = time.perf_counter() - began
    assert done.findings == []
    return seconds


async def _look(pool: db.Pool, *, runs: int) -> float:
    async with pool.acquire() as connection:
        last_run = await connection.fetchval("select max(id) from billing_runs")
        first_entry = await connection.fetchval(
            "select min(id) from wallet_ledger_entries where billing_run_id > $1", last_run - runs
        )
        began = time.perf_counter()
        await connection.execute(
            _LOOK.replace("$1", str(last_run - runs)).replace("$2", str(first_entry - 1))
        )
        return time.perf_counter() - began
