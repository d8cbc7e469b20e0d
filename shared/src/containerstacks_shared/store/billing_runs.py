"""Billing runs: one row each, written by whoever holds the run lock."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import asyncpg

from containerstacks_shared.db import Connection
from containerstacks_shared.models import Biller, BillingRunRecord, Occasion, RunStatus
from containerstacks_shared.sql import load

_QUERIES = load("billing_runs")


async def abandon(connection: Connection) -> None:
    """Close the rows that dead processes left behind. For the holder of the run lock only."""
    await connection.execute(_QUERIES["abandon_runs"])


async def start(
    connection: Connection, *, biller: Biller, occasion: Occasion, holder: str, term: int
) -> tuple[int, datetime]:
    row = await connection.fetchrow(_QUERIES["start_run"], biller.value, occasion.value, holder, term)
    assert row is not None
    return row["id"], row["started_at"]


async def add_progress(
    connection: Connection,
    run_id: int,
    *,
    instances_billed: int,
    hours_billed: int,
    amount_billed: Decimal,
    instances_unpaid: int,
    hours_unpaid: int,
) -> None:
    await connection.execute(
        _QUERIES["add_progress"],
        run_id,
        instances_billed,
        hours_billed,
        amount_billed,
        instances_unpaid,
        hours_unpaid,
    )


async def finish(
    connection: Connection,
    run_id: int,
    *,
    status: RunStatus,
    problems: Sequence[dict[str, object]],
    error_message: str | None,
) -> None:
    await connection.execute(_QUERIES["finish_run"], run_id, status.value, list(problems), error_message)


async def recent(connection: Connection, *, limit: int = 24) -> list[BillingRunRecord]:
    """The latest runs, newest first."""
    return [_record(row) for row in await connection.fetch(_QUERIES["recent_runs"], limit)]


async def page(connection: Connection, *, before: int | None, limit: int) -> list[BillingRunRecord]:
    """Runs from the newest down, or from below one of them."""
    return [_record(row) for row in await connection.fetch(_QUERIES["page_of_runs"], before, limit)]


def _record(row: asyncpg.Record) -> BillingRunRecord:
    return BillingRunRecord(run_id=row["id"], **{name: value for name, value in row.items() if name != "id"})


async def clock_regressed(connection: Connection) -> datetime | None:
    """The moment of a run that lies in the database's future, or None: charging by such a clock would be wrong."""
    moment: datetime | None = await connection.fetchval(_QUERIES["clock_regressed"])
    return moment
