"""The Redis that web replicas may share: for counting requests, and for the figures of the about page.

A convenience, not a dependency: while it is away each process works for itself, so nobody waits for it.
"""

from typing import Final

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .settings import WebSettings

KEY_PREFIX: Final = "containerstacks"
# "Redis is away."
REDIS_AWAY: Final[tuple[type[Exception], ...]] = (RedisError, OSError, TimeoutError)

_TIMEOUT_SECONDS: Final = 0.5


def create_redis_pool(settings: WebSettings) -> ConnectionPool | None:
    """Connects at first use."""
    if settings.redis_url is None:
        return None
    return ConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
