"""Billing runs as a series for charts."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import asyncpg
import pytest

from containerstacks_shared.billing import run_records
from containerstacks_shared.status.history import Span

ADD_RUN = """
insert into billing_runs (biller, trigger, holder, term, started_at, finished_at, status, instances_billed)
values ('daemon', 'schedule', 'test', 1, date_trunc('day', clock_now(), 'UTC') - $1::interval,
        case when $3 = 'running' then null
             else date_trunc('day', clock_now(), 'UTC') - $1::interval + $2::interval end, $3, $4)
"""


@pytest.mark.parametrize(
    ("span", "points"), [(Span.DAY, 24), (Span.WEEK, 28), (Span.MONTH, 30), (Span.QUARTER, 90)]
)
async def test_every_step_is_listed_without_any_run(
    connection: asyncpg.Connection, span: Span, points: int
) -> None:
    series = await run_records.read_series(connection, step=span.run_step, length=span.length)
    assert len(series) == points
    assert all(point.runs == 0 and point.longest_seconds is None for point in series)
    moments = [point.started_at for point in series]
    assert all(later - earlier == span.run_step for earlier, later in pairwise(moments))


async def test_a_step_adds_up_the_runs_that_began_in_it(connection: asyncpg.Connection) -> None:
    for before, lasted, status, billed in (
        ("20 hours", "1.5 seconds", "succeeded", 7),
        ("24 hours", "0.25 seconds", "failed", 2),
        # Closed days later by the next run: that is not its duration.
        ("1 hour", "9 hours", "interrupted", 1),
        ("25 hours", "2 seconds", "succeeded", 5),
        ("100 days", "2 seconds", "succeeded", 100),
    ):
        await connection.execute(ADD_RUN, *map(_interval, (before, lasted)), status, billed)
    series = await run_records.read_series(connection, step=Span.MONTH.run_step, length=Span.MONTH.length)
    *earlier, day_before, yesterday, today = series
    assert (yesterday.runs, yesterday.failed, yesterday.instances_billed) == (3, 2, 10)
    assert yesterday.longest_seconds == Decimal("1.5")
    assert (day_before.runs, day_before.failed, day_before.instances_billed) == (1, 0, 5)
    assert (today.runs, today.longest_seconds) == (0, None)
    assert sum(point.runs for point in earlier) == 0


async def test_a_running_run_has_no_duration(connection: asyncpg.Connection) -> None:
    await connection.execute(ADD_RUN, *map(_interval, ("0 hours", "0 hours")), "running", 4)
    today = (await run_records.read_series(connection, step=Span.MONTH.run_step, length=Span.MONTH.length))[
        -1
    ]
    assert (today.runs, today.failed, today.instances_billed) == (1, 0, 4)
    assert today.longest_seconds is None


def _interval(words: str) -> timedelta:
    amount, unit = words.split()
    return timedelta(**{unit if unit.endswith("s") else f"{unit}s": float(amount)})
