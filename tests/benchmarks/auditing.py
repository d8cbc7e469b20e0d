"""How fast the money is audited, beside a bare look at the same rows."""

import os
import time
from datetime import timedelta

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from benchmarks.surroundings import fresh_database
from containerstacks_shared.billing.audit import audit
from containerstacks_shared.database import db
from support.billing import Billing
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
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, INSTANCES)
        pool = await db.create_pool(dsn, service="bench", command_timeout=timedelta(minutes=30))
        try:
            return await _measure(Billing(dsn, pool, connection))
        finally:
            pool.terminate()


async def _measure(billing: Billing) -> list[Result]:
    pool = billing.pool
    await _bill(billing, RUNS_BEFORE)
    await _audit(pool)
    await _bill(billing, RUNS_FEW)
    few = await _audit(pool)
    await _bill(billing, RUNS_MORE)
    floor = await _look(pool, runs=RUNS_MORE)
    more = await _audit(pool)
    full = await _audit(pool, full=True)
    a_run = (more - few) / (RUNS_MORE - RUNS_FEW)
    fixed = max(more - RUNS_MORE * a_run, 0.0)
    a_day = (fixed + RUNS_A_DAY * a_run) * A_MILLION / INSTANCES
    cycles = INSTANCES * (RUNS_BEFORE + RUNS_FEW + RUNS_MORE)
    return [
        Result(f"audit of {RUNS_MORE} new runs of {INSTANCES:,} instances", more, "s", floor, more / floor),
        Result("audit of a day of a million instances (extrapolated)", a_day, "s", target="under 60"),
        Result(f"full audit of {cycles:,} cycles", full, "s"),
    ]


async def _bill(billing: Billing, runs: int) -> None:
    for _ in range(runs):
        await billing.pass_hours(1)
        await billing.run()
    # What autovacuum does in the meantime, and what an audit a day later finds done.
    await billing.connection.execute("vacuum analyze", timeout=600)


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
