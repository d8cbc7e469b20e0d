"""The figures of the about page, read at most once in five minutes.

Single flight: of many requests that find the cache empty, one asks the database and the others wait for its
answer. When the database is away, the last known figures are served, marked as stale.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog
from aiocache import SimpleMemoryCache

from containerstacks_shared import db
from containerstacks_shared.errors import DatabaseUnavailable
from containerstacks_shared.models import PlatformStatistics
from containerstacks_shared.store import counts

LIFETIME = timedelta(minutes=5)
# How long a failed reading keeps the next visitors from asking a database that is away.
_RETRY_PAUSE = timedelta(seconds=2)
_READ_TIMEOUT = timedelta(seconds=5)
_KEY = "platform_statistics"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PlatformFigures:
    """`stale` tells that newer figures were asked for and could not be had."""

    value: PlatformStatistics
    taken_at: datetime
    stale: bool = False

    @property
    def expires_at(self) -> datetime:
        return self.taken_at + LIFETIME


class PlatformStatisticsCache:
    def __init__(self, pool: db.Pool) -> None:
        self._pool = pool
        self._cache = SimpleMemoryCache()
        self._flight = asyncio.Lock()
        self._last: PlatformFigures | None = None
        self._retry_at = 0.0

    async def read(self) -> PlatformFigures:
        """Return the figures; raises DatabaseUnavailable only while none were ever read."""
        figures = await self._cached()
        if figures is not None:
            return figures
        async with self._flight:
            figures = await self._cached()
            return figures if figures is not None else await self._refresh()

    async def _cached(self) -> PlatformFigures | None:
        figures = await self._cache.get(_KEY)
        return figures if isinstance(figures, PlatformFigures) else None

    async def _refresh(self) -> PlatformFigures:
        clock = asyncio.get_running_loop().time
        if clock() < self._retry_at:
            return self._last_known()
        taken_at = datetime.now(UTC)
        try:
            async with asyncio.timeout(_READ_TIMEOUT.total_seconds()), self._pool.acquire() as connection:
                value = await counts.read_platform_statistics(connection)
        except db.UNAVAILABLE as error:
            self._retry_at = clock() + _RETRY_PAUSE.total_seconds()
            _log.warning("platform_statistics.unavailable", error=str(error) or type(error).__name__)
            return self._last_known()
        self._last = PlatformFigures(value=value, taken_at=taken_at)
        await self._cache.set(_KEY, self._last, ttl=LIFETIME.total_seconds())
        return self._last

    def _last_known(self) -> PlatformFigures:
        if self._last is None:
            raise DatabaseUnavailable("the platform's figures were never read, and the database is away")
        return replace(self._last, stale=True)
