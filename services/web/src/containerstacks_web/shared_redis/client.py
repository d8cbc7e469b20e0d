"""Speaks to Redis. Whatever goes wrong there is `RedisAway` to its callers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from aiocache import RedisCache
from aiocache.serializers import StringSerializer
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.settings import RateLimit

from . import RedisAway

_KEY_PREFIX: Final = "containerstacks"
_TIMEOUT_SECONDS: Final = 0.5
_CACHE_SECONDS_MAX: Final = 1.0


class SharedWindow(NamedTuple):
    """What is left of a limit, and in how many seconds it starts again."""

    remaining: int
    reset_seconds: float


class SharedRedis:
    """One pool per process."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        self._counts = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix=_KEY_PREFIX, **options
        )
        self._windows = FixedWindowRateLimiter(self._counts)
        self._texts = RedisCache(
            serializer=StringSerializer(),
            namespace=_KEY_PREFIX,
            timeout=_CACHE_SECONDS_MAX,
            # It would make its own from host and port.
            connection_pool_class=lambda **_: self._pool,
        )

    async def hit(self, name: str, rate: RateLimit, key: str) -> bool:
        """Count one request, and return whether it is allowed."""
        with _answering():
            return await self._windows.hit(_item(rate), name, key)

    async def look(self, name: str, rate: RateLimit, key: str) -> SharedWindow:
        with _answering():
            window = await self._windows.get_window_stats(_item(rate), name, key)
        return SharedWindow(window.remaining, window.reset_time - time.time())

    async def forget(self, name: str, rate: RateLimit, key: str) -> None:
        with _answering():
            await self._counts.clear(_item(rate).key_for(name, key))

    async def read_text(self, key: str) -> str | None:
        with _answering():
            text: str | None = await self._texts.get(key)
        return text

    async def keep_text(self, key: str, text: str, *, seconds: float) -> None:
        with _answering():
            await self._texts.set(key, text, ttl=seconds)

    async def close(self) -> None:
        await self._pool.aclose()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(describe(error)) from error


def _item(rate: RateLimit) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(rate.amount, int(rate.period.total_seconds()))
