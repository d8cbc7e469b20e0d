"""The fleet over time: recorded once a minute, added up exactly, forgotten in time, read as whole series."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.fleet.vps import VpsStatusCounts
from containerstacks_shared.status import history
from containerstacks_shared.status.history import Resolution, Retention, Span
from support.clock import clock_now, go_to

LONG = Retention(minutes=timedelta(days=7), hours=timedelta(days=100), days=timedelta(days=3650))
ROWS = (
    "select started_at, samples, running from vps_history where resolution_minutes = $1 order by started_at"
)


async def record_at(
    connection: asyncpg.Connection, moment: datetime, running: int, retention: Retention = LONG
) -> None:
    await go_to(connection, moment)
    async with connection.transaction():
        await history.record(connection, VpsStatusCounts(running=running, error=1), retention)


async def rows(connection: asyncpg.Connection, resolution: Resolution) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await connection.fetch(ROWS, resolution)]


NOON = datetime(2030, 3, 10, 12, 0, 30, tzinfo=UTC)
ON_THE_HOUR = NOON.replace(second=0)
MIDNIGHT = NOON.replace(hour=0, minute=0, second=0)


async def test_a_minute_is_recorded_once(connection: asyncpg.Connection) -> None:
    await record_at(connection, NOON, 10)
    await record_at(connection, NOON + timedelta(seconds=5), 99)

    assert await rows(connection, Resolution.MINUTE) == [(ON_THE_HOUR, 1, 10)]


async def test_hours_and_days_are_exactly_their_minutes_added_up(connection: asyncpg.Connection) -> None:
    for minutes, running in ((0, 10), (1, 20), (60, 5), (24 * 60, 7)):
        await record_at(connection, NOON + timedelta(minutes=minutes), running)

    assert await rows(connection, Resolution.HOUR) == [
        (ON_THE_HOUR, 2, 30),
        (ON_THE_HOUR + timedelta(hours=1), 1, 5),
        (ON_THE_HOUR + timedelta(days=1), 1, 7),
    ]
    assert await rows(connection, Resolution.DAY) == [
        (MIDNIGHT, 3, 35),
        (MIDNIGHT + timedelta(days=1), 1, 7),
    ]


async def test_minutes_before_a_failure_are_added_up_after_it(connection: asyncpg.Connection) -> None:
    await record_at(connection, NOON, 10)
    await connection.execute("delete from vps_history where resolution_minutes > 1")

    await record_at(connection, NOON + timedelta(days=2), 4)

    assert await rows(connection, Resolution.HOUR) == [
        (ON_THE_HOUR, 1, 10),
        (ON_THE_HOUR + timedelta(days=2), 1, 4),
    ]


async def test_each_resolution_has_its_own_retention(connection: asyncpg.Connection) -> None:
    short = Retention(minutes=timedelta(days=2), hours=timedelta(days=3), days=timedelta(days=4))
    await record_at(connection, NOON, 10, short)

    for days, left in ((1, (2, 2, 2)), (3, (1, 2, 3)), (5, (1, 2, 2))):
        await record_at(connection, NOON + timedelta(days=days, hours=1), 10, short)
        found = tuple([len(await rows(connection, resolution)) for resolution in Resolution])
        assert found == left


@pytest.mark.parametrize(
    ("span", "points"), [(Span.DAY, 144), (Span.WEEK, 168), (Span.MONTH, 120), (Span.QUARTER, 90)]
)
async def test_a_series_has_every_step_and_marks_those_without_samples(
    connection: asyncpg.Connection, span: Span, points: int
) -> None:
    await record_at(connection, NOON - span.step, 3)
    await record_at(connection, NOON, 10)
    await record_at(connection, NOON + timedelta(minutes=1), 21)

    series = await history.read_series(connection, span)

    assert len(series) == points
    assert [point.started_at - series[0].started_at for point in series] == [
        number * span.step for number in range(points)
    ]
    assert series[-1].started_at <= await clock_now(connection) < series[-1].started_at + span.step
    assert [point.samples for point in series[-3:]] == [0, 1, 2]
    assert [point.running for point in series[-3:]] == [None, Decimal(3), Decimal("15.5")]
    assert series[-1].error == 1


async def test_a_database_without_history_gives_a_series_without_samples(
    connection: asyncpg.Connection,
) -> None:
    series = await history.read_series(connection, Span.WEEK)
    assert {point.samples for point in series} == {0}
    assert series[0].model_dump(mode="json", by_alias=True)["startedAt"].endswith("Z")
