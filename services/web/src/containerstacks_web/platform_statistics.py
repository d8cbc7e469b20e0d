"""The figures of the about page, read at most once in five minutes.

Single flight: of many requests that find the cache empty, one asks the database and the others wait for its
answer. When the database is away, the last known figures are served, marked as stale.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import structlog
from aiocache import SimpleMemoryCache

from containerstacks_shared import db
from containerstacks_shared.errors import DatabaseUnavailable
from containerstacks_shared.models import PlatformDetails, PlatformStatistics
from containerstacks_shared.store import counts

LIFETIME: Final = timedelta(minutes=5)
# How long a failed reading keeps the next visitors from asking a database that is away.
_RETRY_SECONDS: Final = 1.0
_READ_SECONDS_MAX: Final = 5.0
_CONNECTION_SECONDS_MAX: Final = 2.0

_log = structlog.get_logger(__name__)

Value = TypeVar("Value", bound=PlatformStatistics)


@dataclass(frozen=True)
class PlatformFigures(Generic[Value]):
    """`stale` tells that newer figures were asked for and could not be had."""

    value: Value
    taken_at: datetime
    stale: bool = False


class PlatformStatisticsCache:
    def __init__(self, pool: db.Pool) -> None:
        self._public = _Cached(pool, "public", counts.read_platform_statistics)
        self._details = _Cached(pool, "details", counts.read_platform_details)

    async def read(self) -> PlatformFigures[PlatformStatistics]:
        """Return what everybody may see. Raises `DatabaseUnavailable` only while it was never read."""
        return await self._public.read()

    async def read_details(self) -> PlatformFigures[PlatformDetails]:
        """Return what administrators see. Raises `DatabaseUnavailable` only while it was never read."""
        return await self._details.read()


class _Cached(Generic[Value]):
    def __init__(self, pool: db.Pool, name: str, read: Callable[[db.Connection], Awaitable[Value]]) -> None:
        self._pool = pool
        self._name = name
        self._read = read
        self._cache = SimpleMemoryCache()
        self._flight = asyncio.Lock()
        self._last: PlatformFigures[Value] | None = None
        self._retry_at = 0.0

    async def read(self) -> PlatformFigures[Value]:
        figures: PlatformFigures[Value] | None = await self._cache.get(self._name)
        if figures is not None:
            return figures
        async with self._flight:
            figures = await self._cache.get(self._name)
            return figures if figures is not None else await self._refresh()

    async def _refresh(self) -> PlatformFigures[Value]:
        clock = asyncio.get_running_loop().time
        if clock() < self._retry_at:
            return self._last_known()
        taken_at = datetime.now(UTC)
        try:
            async with asyncio.timeout(_READ_SECONDS_MAX):
                value = await self._read_in_one_snapshot()
        except db.UNAVAILABLE as error:
            self._retry_at = clock() + _RETRY_SECONDS
            _log.warning("platform_statistics.unavailable", error=str(error) or type(error).__name__)
            return self._last_known()
        value = value.model_copy(update={"cache_expiry": taken_at + LIFETIME})
        self._last = PlatformFigures(value=value, taken_at=taken_at)
        await self._cache.set(self._name, self._last, ttl=LIFETIME.total_seconds())
        return self._last

    async def _read_in_one_snapshot(self) -> Value:
        async with (
            self._pool.acquire(timeout=_CONNECTION_SECONDS_MAX) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await self._read(connection)

    def _last_known(self) -> PlatformFigures[Value]:
        if self._last is None:
            raise DatabaseUnavailable("the platform's figures were never read, and the database is away")
        return replace(self._last, stale=True)
