"""Sessions that the server ends, at every moment of a transaction."""

import asyncio

import asyncpg

from containerstacks_shared.database import db
from containerstacks_shared.fleet import counts

KILL = (
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'containerstacks-victim'"
)
TERMINATIONS = 400


async def test_every_error_of_a_terminated_session_counts_as_unavailable(
    database_url: str, connection: asyncpg.Connection
) -> None:
    pool = await db.create_pool(database_url, service="victim", size_max=3)
    over = asyncio.Event()
    survived = 0

    async def fold_for_ever() -> None:
        nonlocal survived
        while not over.is_set():
            try:
                async with pool.acquire() as folder, folder.transaction():
                    await counts.fold_deltas(folder, 10)
            except db.UNAVAILABLE:
                survived += 1

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(fold_for_ever())
            for _ in range(TERMINATIONS):
                await connection.execute(KILL)
            over.set()
    finally:
        pool.terminate()
    assert survived > 0
