"""Archiving all that can be archived now, also of the current month, in the transaction of a test."""

import asyncpg

from containerstacks_shared.billing import audit_records

_ARCHIVE = """
select coalesce(sum(batch.moved), 0)::integer
  from (select date_trunc('month', min(billing_period_start) at time zone 'UTC') as first
          from vps_billing_cycles
         where isfinite(billing_period_start)) as charged
 cross join lateral generate_series(charged.first, clock_now() at time zone 'UTC', '1 month') as month (begins)
 cross join lateral archive_charges(
           clock_now() + interval '1 second', $1, $2, $3, month.begins at time zone 'UTC',
           '00000000-0000-0000-0000-000000000000', (month.begins + interval '1 month') at time zone 'UTC',
           1000) as batch
"""


async def archive_audited(connection: asyncpg.Connection) -> int:
    """Move what the last clean audit saw; return how many cycles that were."""
    base = await audit_records.last_clean(connection)
    if base is None:
        return 0
    await connection.execute("select guard_archive(clock_now())")
    coverage = (base.coverage.run_id, base.coverage.ledger_entry_id, base.coverage.correction_id)
    moved: int = await connection.fetchval(_ARCHIVE, *coverage)
    return moved
