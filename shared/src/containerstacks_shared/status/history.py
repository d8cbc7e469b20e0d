"""The fleet by status over time: recorded each minute, rolled up per hour and per day, read as series for charts."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, IntEnum
from typing import Final

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet.vps import VpsHistoryPoint, VpsStatusCounts

_QUERIES: Final = load(__name__)


class Resolution(IntEnum):
    """How many minutes one row stands for."""

    MINUTE = 1
    HOUR = 60
    DAY = 1440


@dataclass(frozen=True)
class Retention:
    """How long rows of each resolution are kept."""

    minutes: timedelta
    hours: timedelta
    days: timedelta


class Span(Enum):
    """A chart's stretch of time: how far back it goes, in which steps, made of which rows; and runs."""

    DAY = (timedelta(hours=24), timedelta(minutes=10), Resolution.MINUTE, timedelta(hours=1))
    WEEK = (timedelta(days=7), timedelta(hours=1), Resolution.HOUR, timedelta(hours=6))
    MONTH = (timedelta(days=30), timedelta(hours=6), Resolution.HOUR, timedelta(days=1))
    QUARTER = (timedelta(days=90), timedelta(days=1), Resolution.DAY, timedelta(days=1))

    def __init__(
        self, length: timedelta, step: timedelta, resolution: Resolution, run_step: timedelta
    ) -> None:
        self.length = length
        self.step = step
        self.resolution = resolution
        # Billing runs once an hour: finer steps than that would stay empty.
        self.run_step = run_step


async def record(connection: Connection, counts: VpsStatusCounts, retention: Retention) -> None:
    """Write this minute down, add hours and days up, and forget what is too old.

    Runs in a transaction that has checked its term. Rolling up comes before forgetting, so that a minute is
    never gone before it is in its hour.
    """
    await connection.execute(
        _QUERIES["record_minute"],
        counts.running,
        counts.stopped,
        counts.provisioning,
        counts.rebooting,
        counts.error,
        counts.other,
    )
    await connection.execute(_QUERIES["roll_up"], Resolution.MINUTE, Resolution.HOUR)
    await connection.execute(_QUERIES["roll_up"], Resolution.HOUR, Resolution.DAY)
    for resolution, kept in (
        (Resolution.MINUTE, retention.minutes),
        (Resolution.HOUR, retention.hours),
        (Resolution.DAY, retention.days),
    ):
        await connection.execute(_QUERIES["forget"], resolution, kept)


async def seconds_to_next_minute(connection: Connection) -> float:
    seconds: float = await connection.fetchval(_QUERIES["seconds_to_next_minute"])
    return seconds


async def read_series(connection: Connection, span: Span) -> list[VpsHistoryPoint]:
    """Read one point per step, oldest first; a step without a record is included, without values."""
    rows = await connection.fetch(_QUERIES["series"], span.resolution, span.step, span.length)
    return [VpsHistoryPoint(**dict(row)) for row in rows]
