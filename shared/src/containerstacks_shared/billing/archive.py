"""Archive months of charges: cycles and their debits leave the tables that every run writes, and stay readable.

Only what is settled (paid to the digit by a debit of its own, or forgiven) and was seen by a clean audit is moved:
never an unpaid cycle, nor one that nobody verified, nor another biller's row. Each batch is one transaction, so
a reader of both tables finds each row once. After an interruption, call it again: it continues from there.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from containerstacks_shared.core.errors import BillingBusy, ContainerStacksError
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from . import audit_records
from .audit_records import Coverage
from .move_money import impatient_transaction
from .statement import Month

_QUERIES = load(__name__)
_CYCLES_AT_ONCE = 5000
_FIRST_ID = UUID(int=0)


@dataclass(frozen=True)
class ArchivedMonth:
    """`month` is that in which the hours began. `left` cycles were paid too late, or are not settled or not audited."""

    month: Month
    cycles: int
    left: int


@dataclass(frozen=True)
class _Batch:
    looked_at: int
    moved: int
    last_start: datetime | None
    last_instance: UUID | None


async def archive(
    connection: Connection, *, before: Month, cycles_at_once: int = _CYCLES_AT_ONCE
) -> AsyncIterator[ArchivedMonth]:
    """Archive what was charged and paid before the month `before`; report each month when it is done.

    For the owner of the tables. Raises `ContainerStacksError` for a month that has not begun, or without a clean
    audit to rely on, and `BillingBusy` while somebody else holds what is needed.
    """
    if before.begin > await connection.fetchval(_QUERIES["clock"]):
        raise ContainerStacksError(f"{before} has not begun; only months that are over can be archived")
    audit = await audit_records.last_clean(connection)
    if audit is None:
        raise ContainerStacksError(
            "nobody has verified the charges, or damage was found: `containerstacks verify` must be clean first"
        )
    first = await connection.fetchval(_QUERIES["first_charge"], before.begin)
    if first is None:
        return
    async with _impatient(connection):
        await connection.execute(_QUERIES["guard"], before.begin)
    month, moved = Month(first.year, first.month), 0
    while month.begin < before.begin:
        done = await _archive_month(connection, month, before, audit.coverage, cycles_at_once)
        if done.cycles or done.left:
            yield done
        moved += done.cycles
        month = month.next
    if moved:
        for step in ("forget_block_ranges", "vacuum_cycles", "vacuum_transactions"):
            await connection.execute(_QUERIES[step])


async def _archive_month(
    connection: Connection, month: Month, before: Month, audited: Coverage, cycles_at_once: int
) -> ArchivedMonth:
    after: tuple[datetime, UUID] = (month.begin, _FIRST_ID)
    looked_at = moved = 0
    while True:
        async with _impatient(connection):
            row = await connection.fetchrow(
                _QUERIES["move_batch"],
                before.begin,
                audited.run_id,
                audited.ledger_entry_id,
                audited.correction_id,
                *after,
                month.end,
                cycles_at_once,
            )
        assert row is not None
        batch = _Batch(**dict(row))
        looked_at += batch.looked_at
        moved += batch.moved
        if batch.last_start is None or batch.last_instance is None:
            return ArchivedMonth(month, moved, looked_at - moved)
        after = (batch.last_start, batch.last_instance)


@asynccontextmanager
async def _impatient(connection: Connection) -> AsyncIterator[None]:
    """Make a transaction that waits for others only so long: billing would wait behind it."""
    try:
        async with impatient_transaction(connection):
            yield
    except asyncpg.LockNotAvailableError as error:
        raise BillingBusy(
            "somebody holds the history tables; what was archived so far stays, try again"
        ) from error
