"""The figures of the about page: read at most once in five minutes, by one for all replicas that share a Redis.

Single flight: of many requests that find the cache empty, one asks the database and the others wait for its
answer. When the database is away, the last known figures are served, marked as stale.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog
from aiohttp import web
from pydantic import ValidationError

from containerstacks_shared.core.errors import DatabaseUnavailable, describe
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import time_limit
from containerstacks_shared.database.reading import Reader, Reading
from containerstacks_shared.fleet import counts
from containerstacks_shared.fleet.platform import PlatformDetails, PlatformStatistics
from containerstacks_web.shared_redis import RedisAway

if TYPE_CHECKING:
    from containerstacks_web.shared_redis.client import SharedRedis

LIFETIME: Final = timedelta(minutes=5)
# Pause after a failed reading, so that visitors do not wait for a database that is down.
_RETRY_SECONDS: Final = 1.0
_READ_SECONDS_MAX: Final = 5.0

_log = structlog.get_logger(__name__)

Value = TypeVar("Value", bound=PlatformStatistics)


@dataclass(frozen=True)
class PlatformFigures(Generic[Value]):
    """`stale`: newer figures were asked for, and the database did not answer."""

    value: Value
    taken_at: datetime
    stale: bool = False


class PlatformStatisticsCache:
    def __init__(self, reader: Reader, redis: "SharedRedis | None") -> None:
        self._public = _Cached(reader, counts.read_platform_statistics, PlatformStatistics, redis)
        self._details = _Cached(reader, counts.read_platform_details, PlatformDetails, redis)

    async def read(self) -> PlatformFigures[PlatformStatistics]:
        """Return the public figures. Raises `DatabaseUnavailable` only while it was never read."""
        return await self._public.read()

    async def read_details(self) -> PlatformFigures[PlatformDetails]:
        """Return the figures for administrators. Raises `DatabaseUnavailable` only while it was never read."""
        return await self._details.read()


PLATFORM_STATISTICS: Final = web.AppKey("platform_statistics", PlatformStatisticsCache)


class _Cached(Generic[Value]):
    def __init__(
        self,
        reader: Reader,
        read: Callable[[db.Connection], Awaitable[Value]],
        model: type[Value],
        redis: "SharedRedis | None",
    ) -> None:
        self._reader = reader
        self._read = read
        self._model = model
        self._redis = redis
        self._flight = asyncio.Lock()
        self._last: PlatformFigures[Value] | None = None
        self._retry_at = 0.0
        self._failure = ""

    async def read(self) -> PlatformFigures[Value]:
        if (figures := self._fresh()) is not None:
            return figures
        async with self._flight:
            await self._take_what_others_read()
            return self._fresh() or await self._refresh()

    def _fresh(self) -> PlatformFigures[Value] | None:
        # In the future: from before the clock was set back, which must not keep them for longer.
        if self._last is None or abs(datetime.now(UTC) - self._last.taken_at) >= LIFETIME:
            return None
        return self._last

    async def _take_what_others_read(self) -> None:
        """Take what another replica, or an earlier request, has read meanwhile."""
        if self._redis is None or self._fresh() is not None:
            return
        try:
            text = await self._redis.read_text(self._model.__name__)
        except RedisAway as error:
            _log.warning("platform_statistics.redis_away", error=str(error))
            return
        try:
            value = None if text is None else self._model.model_validate_json(text)
        except ValidationError:
            # Another release wrote it: during an upgrade each reads its own.
            return
        if value is not None and value.cache_expiry is not None:
            self._last = PlatformFigures(value=value, taken_at=value.cache_expiry - LIFETIME)

    async def _share(self, figures: PlatformFigures[Value]) -> None:
        if self._redis is None:
            return
        seconds = _seconds_until(figures.taken_at + LIFETIME)
        try:
            await self._redis.keep_text(
                self._model.__name__, figures.value.model_dump_json(), seconds=seconds
            )
        except RedisAway as error:
            _log.warning("platform_statistics.redis_away", error=str(error))

    async def _refresh(self) -> PlatformFigures[Value]:
        clock = asyncio.get_running_loop().time
        if clock() < self._retry_at:
            return self._last_known()
        try:
            async with time_limit(_READ_SECONDS_MAX):
                reading: Reading[Value] = await self._reader.read(self._read)
        except db.FAILURES as error:
            self._retry_at, self._failure = clock() + _RETRY_SECONDS, describe(error)
            _log.warning("platform_statistics.unavailable", error=self._failure)
            return self._last_known()
        value = reading.value.model_copy(update={"cache_expiry": reading.as_of + LIFETIME})
        self._last = PlatformFigures(value=value, taken_at=reading.as_of)
        await self._share(self._last)
        return self._last

    def _last_known(self) -> PlatformFigures[Value]:
        if self._last is None:
            raise DatabaseUnavailable(f"the platform's figures were never read: {self._failure}")
        return replace(self._last, stale=True)


def _seconds_until(moment: datetime) -> float:
    # A millisecond at least: caches take zero for "for ever".
    return max((moment - datetime.now(UTC)).total_seconds(), 0.001)
