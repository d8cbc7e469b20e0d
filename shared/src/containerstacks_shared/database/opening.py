"""Opens the pool of a service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from containerstacks_shared.core.settings import CommonSettings

from . import db, suitability


@asynccontextmanager
async def suitable_pool(
    settings: CommonSettings, *, service: str, size_max: int = 10
) -> AsyncIterator[db.Pool]:
    """Open a pool on a database that is suitable for this release, and close it at the end of the block.

    Waits for the database as long as `create_pool` does. Raises `ContainerStacksError`.
    """
    pool = await db.create_pool(
        settings.dsn, service=service, size_max=size_max, through_pooler=settings.through_pooler
    )
    try:
        await suitability.assert_suitable(settings.dsn, settings.listen_dsn, test_clock=settings.test_clock)
        yield pool
    finally:
        await db.close_pool(pool)
