"""Billing runs: one row each, written by the holder of the run lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from containerstacks_shared.core.errors import ContainerStacksError, NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from .charge import Charged
from .documents import Biller, BillingRunRecord, RunHistoryPoint, RunStatus, RunTrigger

_QUERIES = load(__name__)


@dataclass(frozen=True)
class RunPage:
    """The newest first, and whether there are more beyond either end."""

    runs: list[BillingRunRecord]
    has_newer: bool
    has_older: bool


@dataclass(frozen=True)
class RunWithProblems:
    """A problem is `{problem, count}`, or `{problem, error}` for an organization that could not be billed."""

    record: BillingRunRecord
    problems: list[dict[str, object]]


async def abandon(connection: Connection) -> None:
    """Close the rows that dead processes left behind. For the holder of the run lock only."""
    await connection.execute(_QUERIES["abandon_runs"])


async def start(
    connection: Connection, *, biller: Biller, trigger: RunTrigger, holder: str, term: int
) -> tuple[int, datetime]:
    try:
        row = await connection.fetchrow(_QUERIES["start_run"], biller.value, trigger.value, holder, term)
    except asyncpg.UniqueViolationError as error:
        raise ContainerStacksError(
            "the sequence of billing_runs stands behind its rows, as after a restore that left it out; set it right:"
            " select setval(pg_get_serial_sequence('billing_runs', 'id'), (select max(id) from billing_runs))"
        ) from error
    assert row is not None
    return row["id"], row["started_at"]


async def add_progress(connection: Connection, run_id: int, charged: Charged) -> None:
    await connection.execute(
        _QUERIES["add_progress"],
        run_id,
        charged.instances_billed,
        charged.hours_billed,
        charged.amount_billed,
        charged.instances_unpaid,
        charged.hours_unpaid,
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


async def page(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
    status: RunStatus | None = None,
) -> RunPage:
    """Read down from the newest run or from below one of them, or what came after one of them."""
    # One more than asked for shows whether there is another page.
    if after is not None:
        rows = await connection.fetch(_QUERIES["page_of_later_runs"], after, status, limit + 1)
        runs = [_record(row) for row in reversed(rows[:limit])]
        return RunPage(runs, has_newer=len(rows) > limit, has_older=True)
    rows = await connection.fetch(_QUERIES["page_of_runs"], before, status, limit + 1)
    runs = [_record(row) for row in rows[:limit]]
    return RunPage(runs, has_newer=before is not None, has_older=len(rows) > limit)


async def find(connection: Connection, run_id: int) -> RunWithProblems:
    """Raises `NotFound`."""
    row = await connection.fetchrow(_QUERIES["find_run"], run_id)
    if row is None:
        raise NotFound(f"there is no billing run {run_id}")
    return RunWithProblems(_record(row), row["problems"])


async def read_series(connection: Connection, *, step: timedelta, length: timedelta) -> list[RunHistoryPoint]:
    """Read one point per step, oldest first; a step without a run has a point, too."""
    rows = await connection.fetch(_QUERIES["series"], step, length)
    return [RunHistoryPoint(**dict(row)) for row in rows]


def _record(row: asyncpg.Record) -> BillingRunRecord:
    values = {name: value for name, value in row.items() if name not in {"id", "problems"}}
    return BillingRunRecord(run_id=row["id"], **values)


async def clock_regressed(connection: Connection) -> datetime | None:
    """The moment of a run that lies in the database's future, or None: charging by such a clock would be wrong."""
    moment: datetime | None = await connection.fetchval(_QUERIES["clock_regressed"])
    return moment
