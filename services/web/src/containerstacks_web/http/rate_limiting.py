"""How often one visitor may ask: counted in fixed windows, in Redis when replicas share it, else in memory.

While Redis is away each process counts for itself.
"""

import asyncio
import math
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from aiohttp import web

from containerstacks_shared.core.lines import counted
from containerstacks_shared.core.settings import RateLimit
from containerstacks_web.settings import WebSettings
from containerstacks_web.shared_redis import RedisAway

from .identity import RequestRole
from .paths import is_public_status

if TYPE_CHECKING:
    from containerstacks_web.shared_redis.client import SharedRedis

# Pause after a failure of Redis, so that an outage does not slow every request.
_REDIS_RETRY_SECONDS = 5.0
_SWEEP_SECONDS = 10.0

_PUBLIC: Final = "public"
_MINUTE: Final = 60

_log = structlog.get_logger(__name__)


class RateLimitResult(NamedTuple):
    """The result of one hit; the window ends in `reset_seconds`. A tuple, because every request makes one."""

    name: str
    rate: RateLimit
    allowed: bool
    remaining: int
    reset_seconds: int

    @property
    def refusal(self) -> str:
        """The message to the visitor."""
        return (
            f"Too many requests: {self.rate.amount} are allowed in {self.rate.text.partition('/')[2]}."
            f" Try again in {in_words(self.reset_seconds)}."
        )

    @property
    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers, and Retry-After for a refusal."""
        window = int(self.rate.period.total_seconds())
        fields = {
            "RateLimit-Policy": f'"{self.name}";q={self.rate.amount};w={window}',
            "RateLimit": f'"{self.name}";r={self.remaining};t={self.reset_seconds}',
        }
        if not self.allowed:
            fields["Retry-After"] = str(self.reset_seconds)
        return fields


def in_words(seconds: int) -> str:
    """'45 seconds', '15 minutes'; rounded up, so that nobody comes back too early."""
    amount, unit = (seconds, "second") if seconds < _MINUTE else (math.ceil(seconds / _MINUTE), "minute")
    return counted(amount, unit)


RATE_LIMIT_RESULT: Final = web.RequestKey("rate_limit_result", RateLimitResult)


class RateLimiter:
    def __init__(self, settings: WebSettings, redis: "SharedRedis | None") -> None:
        self._rates = {
            _PUBLIC: settings.rate_limit_public,
            RequestRole.ANONYMOUS.value: settings.rate_limit_anonymous,
            RequestRole.USER.value: settings.rate_limit_user,
            RequestRole.AUDITOR.value: settings.rate_limit_admin,
            RequestRole.BILLING.value: settings.rate_limit_admin,
            RequestRole.ADMIN.value: settings.rate_limit_admin,
        }
        self._memory = _Windows()
        self._redis = redis
        self._redis_retry_at = 0.0

    def hit_as(self, role: RequestRole, key: str, *, path: str = "") -> Awaitable[RateLimitResult]:
        """Count one request of a class of visitors; anonymous ones have another limit for the public status."""
        name = _PUBLIC if role is RequestRole.ANONYMOUS and is_public_status(path) else role.value
        return self.hit(name, self._rates[name], key)

    async def hit(self, name: str, rate: RateLimit, key: str) -> RateLimitResult:
        """Count one request, and return whether it is allowed."""
        if (redis := self._redis_at_hand()) is not None:
            try:
                return await _hit(redis, name, rate, key)
            except RedisAway as error:
                self._leave_redis_alone(error)
        return self._memory.hit(name, rate, key)

    async def look(self, name: str, rate: RateLimit, key: str) -> RateLimitResult:
        """Return whether one more is allowed, without counting it."""
        if (redis := self._redis_at_hand()) is not None:
            try:
                return await _look(redis, name, rate, key)
            except RedisAway as error:
                self._leave_redis_alone(error)
        return self._memory.look(name, rate, key)

    async def clear(self, name: str, rate: RateLimit, key: str) -> None:
        """Forget what was counted, after a success that excuses the failures before it."""
        self._memory.forget(name, rate, key)
        if (redis := self._redis_at_hand()) is None:
            return
        try:
            await redis.forget(name, rate, key)
        except RedisAway as error:
            self._leave_redis_alone(error)

    def _redis_at_hand(self) -> "SharedRedis | None":
        if self._redis is None or asyncio.get_running_loop().time() < self._redis_retry_at:
            return None
        return self._redis

    def _leave_redis_alone(self, error: RedisAway) -> None:
        self._redis_retry_at = asyncio.get_running_loop().time() + _REDIS_RETRY_SECONDS
        _log.warning("rate_limiting.redis_away", error=str(error))


RATE_LIMITER: Final = web.AppKey("rate_limiter", RateLimiter)


async def _hit(redis: "SharedRedis", name: str, rate: RateLimit, key: str) -> RateLimitResult:
    allowed = await redis.hit(name, rate, key)
    return (await _look(redis, name, rate, key))._replace(allowed=allowed)


async def _look(redis: "SharedRedis", name: str, rate: RateLimit, key: str) -> RateLimitResult:
    window = await redis.look(name, rate, key)
    return RateLimitResult(
        name=name,
        rate=rate,
        allowed=window.remaining > 0,
        remaining=window.remaining,
        reset_seconds=_whole_seconds(window.reset_seconds),
    )


def _whole_seconds(rest: float) -> int:
    # Rounded first: the difference of two moments may be a whole window and a millionth of a second.
    return max(1, math.ceil(round(rest, 3)))


@dataclass(slots=True)
class _Window:
    ends_at: float
    count: int = 0


class _Windows:
    """Counts of this process, swept now and then.

    The library's own memory looks at every key on every hit, which many visitors make slow. This is on the way of
    every request. Nothing here awaits, so no lock is needed.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, str], _Window] = {}
        self._sweep_at = 0.0

    def hit(self, name: str, rate: RateLimit, key: str) -> RateLimitResult:
        result = self.look(name, rate, key)
        self._windows[name, rate.text, key].count += 1
        return result

    def look(self, name: str, rate: RateLimit, key: str) -> RateLimitResult:
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep(now)
        counted = (name, rate.text, key)
        window = self._windows.get(counted)
        if window is None or window.ends_at <= now:
            window = self._windows[counted] = _Window(now + rate.period.total_seconds())
        return RateLimitResult(
            name,
            rate,
            allowed=window.count < rate.amount,
            remaining=max(0, rate.amount - window.count - 1),
            reset_seconds=_whole_seconds(window.ends_at - now),
        )

    def forget(self, name: str, rate: RateLimit, key: str) -> None:
        self._windows.pop((name, rate.text, key), None)

    def _sweep(self, now: float) -> None:
        self._sweep_at = now + _SWEEP_SECONDS
        self._windows = {counted: window for counted, window in self._windows.items() if window.ends_at > now}
