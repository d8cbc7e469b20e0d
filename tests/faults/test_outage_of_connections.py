"""Pool, listener and leadership while PostgreSQL goes away in the middle and comes back."""

import asyncio
from collections.abc import Iterator

import pytest

from containerstacks_shared.database import db
from containerstacks_shared.database.locks import Leadership, Role
from containerstacks_shared.database.notify import RESYNC, Channel, Listener
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.process.runtime import Job
from containerstacks_shared.schema import migrate
from support import databases, promises
from support.jobs import running
from support.waiting import LIMIT_SECONDS, eventually


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """Give a server of its own: others would not like it to stop."""
    with databases.embedded_postgres() as postgres:
        yield postgres


async def test_all_recover_by_themselves_when_the_database_returns(postgres: EmbeddedPostgres) -> None:
    dsn = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(migrate, dsn)
    listener = Listener(dsn, [Channel.COUNT_DELTAS], service="tests")
    subscription = listener.subscribe()
    async with (
        databases.open_pool(dsn) as pool,
        Leadership(dsn, Role.STATS_AGGREGATOR, service="tests") as leadership,
        running(Job("listener", listener.run)),
    ):
        first = await leadership.acquire(stop=asyncio.Event())
        assert first is not None
        assert await subscription.wait(LIMIT_SECONDS) == {RESYNC}

        # Not "immediate": this server does not flush, and would forget the term.
        await asyncio.to_thread(postgres.stop, "fast")
        async with asyncio.timeout(promises.RECOVERED_SECONDS):
            await leadership.lost.wait()
            await eventually(lambda: not listener.connected)
        with pytest.raises(db.UNAVAILABLE):
            await pool.fetchval("select 1")
        async with asyncio.TaskGroup() as group:
            leading = group.create_task(leadership.acquire(stop=asyncio.Event()))
            await asyncio.to_thread(postgres.start)
            async with asyncio.timeout(promises.RECOVERED_SECONDS):
                assert await subscription.wait(LIMIT_SECONDS) == {RESYNC}
                assert await pool.fetchval("select 1") == 1
                second = await leading
        assert second is not None
        assert second.number == first.number + 1
