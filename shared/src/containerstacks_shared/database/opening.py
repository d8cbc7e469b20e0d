"""How a service comes to its database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from containerstacks_shared.core.settings import CommonSettings

from . import db, suitability


@asynccontextmanager
async def suitable_pool(
    settings: CommonSettings, *, service: str, size_max: int = 10
) -> AsyncIterator[db.Pool]:
    """Give a pool on a database that this release is right on, and close it in the end.

    A database that is not there yet is waited for as long as `create_pool` does. Raises `ContainerStacksError`.
    """
    pool = await db.create_pool(
        settings.dsn, service=service, size_max=size_max, through_pooler=settings.through_pooler
    )
    try:
        await suitability.assert_suitable(settings.dsn, settings.listen_dsn, test_clock=settings.test_clock)
        yield pool
    finally:
        await db.close_pool(pool)
