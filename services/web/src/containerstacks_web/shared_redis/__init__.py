"""The Redis that web replicas may share: for counting requests, and for the figures of the about page.

A convenience, not a dependency: while it is away each process works for itself, so nobody waits for it. Without
REDIS_URL the libraries that speak to it are never imported, which saves 8 MB and more.
"""

from typing import TYPE_CHECKING

from containerstacks_web.settings import WebSettings

if TYPE_CHECKING:
    from .client import SharedRedis


class RedisAway(Exception):  # noqa: N818 - what is the case
    """Redis did not answer in time, or with an error."""


def open_shared_redis(settings: WebSettings) -> "SharedRedis | None":
    """Connects at first use."""
    if settings.redis_url is None:
        return None
    from .client import SharedRedis  # noqa: PLC0415 - brings the libraries

    return SharedRedis(settings.redis_url.get_secret_value())
