"""Versions of the live status: of two, the greater was read later."""

import asyncio

import asyncpg
import pytest

from containerstacks_shared.database import db
from containerstacks_shared.status import versions
from support.waiting import LIMIT_SECONDS, session_waiting_for


async def test_a_version_is_drawn_and_read_by_one_process_at_a_time(
    pool: db.Pool, connection: asyncpg.Connection
) -> None:
    async def draw() -> int:
        async with pool.acquire() as other, other.transaction():
            return await versions.next_version(other)

    # The group waits after the transaction has ended, so these are two blocks.
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:  # noqa: SIM117
        async with pool.acquire() as reading, reading.transaction():
            first = await versions.next_version(reading)
            second = group.create_task(draw())
            await session_waiting_for(connection, reading.get_server_pid())
            assert not second.done()
    assert second.result() > first


async def test_a_version_belongs_to_a_transaction(connection: asyncpg.Connection) -> None:
    with pytest.raises(RuntimeError):
        await versions.next_version(connection)
