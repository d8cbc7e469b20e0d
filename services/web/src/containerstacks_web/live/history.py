"""The past that the status page draws: read once a minute for every range, the last good reading kept with its age."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.billing import run_records
from containerstacks_shared.billing.documents import RunHistoryPoint
from containerstacks_shared.core.errors import describe
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import time_limit
from containerstacks_shared.database.reading import Reader
from containerstacks_shared.fleet.vps import VpsHistoryPoint
from containerstacks_shared.status import history, incidents
from containerstacks_shared.status.history import Span
from containerstacks_shared.status.incidents import Period

# A minute is the finest step that is recorded.
_EVERY_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0
_READ_SECONDS_MAX: Final = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SpanHistory:
    """One point per step, oldest first, also where nothing was recorded."""

    vps: Sequence[VpsHistoryPoint]
    runs: Sequence[RunHistoryPoint]


@dataclass(frozen=True, eq=False)
class History:
    """Everything that was recorded until `as_of`. `stale`: a later reading failed."""

    as_of: datetime
    spans: Mapping[Span, SpanHistory]
    stale: bool = False
    incidents: Sequence[Period] = ()


class HistoryReadings:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._latest: History | None = None

    @property
    def latest(self) -> History | None:
        """The last good reading; None before the first."""
        return self._latest

    async def follow(self) -> None:
        """Read until cancelled."""
        while True:
            seconds = await self.look()
            await asyncio.sleep(seconds)

    async def look(self) -> float:
        """Read once. Returns in how many seconds to do so again."""
        try:
            async with time_limit(_READ_SECONDS_MAX):
                reading = await self._reader.read(_read_past)
        except db.FAILURES as error:
            _log.warning("history.unavailable", error=describe(error))
            if self._latest is not None:
                self._latest = replace(self._latest, stale=True)
            return _RETRY_SECONDS
        spans, periods = reading.value
        self._latest = History(reading.as_of, spans, incidents=periods)
        return _EVERY_SECONDS


HISTORY: Final = web.AppKey("history", HistoryReadings)


async def _read_past(connection: db.Connection) -> tuple[Mapping[Span, SpanHistory], Sequence[Period]]:
    spans = {
        span: SpanHistory(
            vps=await history.read_series(connection, span),
            runs=await run_records.read_series(connection, step=span.run_step, length=span.length),
        )
        for span in Span
    }
    begins = min(point.started_at for point in spans[Span.QUARTER].vps)
    return spans, await incidents.read_periods(connection, begins)
