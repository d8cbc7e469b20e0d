"""The figures of the about page: read at most once in five minutes, by one for all replicas that share a Redis.

Single flight: of many requests that find the cache empty, one asks the database and the others wait for its
answer. When the database is away, the last known figures are served, marked as stale.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

import structlog
from aiocache import RedisCache, SimpleMemoryCache
from aiohttp import web
from redis.asyncio import ConnectionPool

from containerstacks_shared.core.errors import DatabaseUnavailable, describe
from containerstacks_shared.database import db
from containerstacks_shared.database.reading import Reader, Reading
from containerstacks_shared.fleet import counts
from containerstacks_shared.fleet.platform import PlatformDetails, PlatformStatistics
from containerstacks_web.shared_redis import KEY_PREFIX, REDIS_AWAY

LIFETIME: Final = timedelta(minutes=5)
# Pause after a failed reading, so that visitors do not wait for a database that is down.
_RETRY_SECONDS: Final = 1.0
_READ_SECONDS_MAX: Final = 5.0
_CACHE_SECONDS_MAX: Final = 1.0

_log = structlog.get_logger(__name__)

Value = TypeVar("Value", bound=PlatformStatistics)


@dataclass(frozen=True)
class PlatformFigures(Generic[Value]):
    """`stale`: newer figures were asked for, and the database did not answer."""

    value: Value
    taken_at: datetime
    stale: bool = False


class PlatformStatisticsCache:
    def __init__(self, reader: Reader, redis_pool: ConnectionPool | None) -> None:
        self._public = _Cached(
            reader, counts.read_platform_statistics, _Serializer(PlatformStatistics), redis_pool
        )
        self._details = _Cached(
            reader, counts.read_platform_details, _Serializer(PlatformDetails), redis_pool
        )

    async def read(self) -> PlatformFigures[PlatformStatistics]:
        """Return the public figures. Raises `DatabaseUnavailable` only while it was never read."""
        return await self._public.read()

    async def read_details(self) -> PlatformFigures[PlatformDetails]:
        """Return the figures for administrators. Raises `DatabaseUnavailable` only while it was never read."""
        return await self._details.read()


PLATFORM_STATISTICS: Final = web.AppKey("platform_statistics", PlatformStatisticsCache)


class _Serializer(Generic[Value]):
    """Figures as text and back, for a cache outside this process; the interface is aiocache's."""

    encoding = "utf-8"

    def __init__(self, model: type[Value]) -> None:
        self.model = model

    def dumps(self, figures: PlatformFigures[Value]) -> str:
        return figures.value.model_dump_json()

    def loads(self, text: str | None) -> PlatformFigures[Value] | None:
        if text is None:
            return None
        value = self.model.model_validate_json(text)
        assert value.cache_expiry is not None
        return PlatformFigures(value=value, taken_at=value.cache_expiry - LIFETIME)


class _Cached(Generic[Value]):
    def __init__(
        self,
        reader: Reader,
        read: Callable[[db.Connection], Awaitable[Value]],
        serializer: _Serializer[Value],
        redis_pool: ConnectionPool | None,
    ) -> None:
        self._reader = reader
        self._read = read
        self._key = serializer.model.__name__
        self._cache = _cache(redis_pool, serializer)
        self._flight = asyncio.Lock()
        self._last: PlatformFigures[Value] | None = None
        self._retry_at = 0.0

    async def read(self) -> PlatformFigures[Value]:
        figures = await self._cached()
        if figures is not None:
            return figures
        async with self._flight:
            figures = await self._cached()
            return figures if figures is not None else await self._refresh()

    async def _cached(self) -> PlatformFigures[Value] | None:
        try:
            figures: PlatformFigures[Value] | None = await self._cache.get(self._key)
        except REDIS_AWAY as error:
            _log.warning("platform_statistics.redis_away", error=describe(error))
            return self._last if self._is_fresh(self._last) else None
        if figures is not None:
            self._last = figures
        return figures

    async def _refresh(self) -> PlatformFigures[Value]:
        clock = asyncio.get_running_loop().time
        if clock() < self._retry_at:
            return self._last_known()
        try:
            async with asyncio.timeout(_READ_SECONDS_MAX):
                reading: Reading[Value] = await self._reader.read(self._read)
        except db.FAILURES as error:
            self._retry_at = clock() + _RETRY_SECONDS
            _log.warning("platform_statistics.unavailable", error=describe(error))
            return self._last_known()
        value = reading.value.model_copy(update={"cache_expiry": reading.as_of + LIFETIME})
        self._last = PlatformFigures(value=value, taken_at=reading.as_of)
        try:
            await self._cache.set(self._key, self._last, ttl=_seconds_until(reading.as_of + LIFETIME))
        except REDIS_AWAY as error:
            _log.warning("platform_statistics.redis_away", error=describe(error))
        return self._last

    def _last_known(self) -> PlatformFigures[Value]:
        if self._last is None:
            raise DatabaseUnavailable("the platform's figures were never read, and the database is away")
        return replace(self._last, stale=True)

    def _is_fresh(self, figures: PlatformFigures[Value] | None) -> bool:
        return figures is not None and datetime.now(UTC) - figures.taken_at < LIFETIME


def _seconds_until(moment: datetime) -> float:
    # A millisecond at least: caches take zero for "for ever".
    return max((moment - datetime.now(UTC)).total_seconds(), 0.001)


def _cache(redis_pool: ConnectionPool | None, serializer: _Serializer[Any]) -> Any:
    if redis_pool is None:
        return SimpleMemoryCache()
    return RedisCache(
        serializer=serializer,
        namespace=KEY_PREFIX,
        timeout=_CACHE_SECONDS_MAX,
        # It would make its own from host and port; one pool per process is enough.
        connection_pool_class=lambda **_: redis_pool,
    )
