"""Changes of status through a failover, by a writer that knows which were committed; and what pages say of them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from containerstacks_shared.database import db
from support import databases
from support.live_page import LivePage

STATUSES = ("running", "stopped", "error", "provisioning")


class Storm:
    """One change after the other, on whichever of the DSN's servers takes writes."""

    def __init__(self, dsn: str, instances: Sequence[UUID]) -> None:
        self._dsn = dsn
        self._instances = instances
        # What each instance may be: one status, or two where the answer to the last change was lost.
        self._possible: dict[UUID, set[str]] = {instance: {"running"} for instance in instances}
        self.committed = 0

    @asynccontextmanager
    async def blowing(self) -> AsyncIterator[None]:
        """Change statuses for as long as the block goes on; nothing of it outlives the block, however that ends."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._blow(stop))
            yield
            stop.set()

    async def _blow(self, stop: asyncio.Event) -> None:
        changes = zip(itertools.cycle(self._instances), itertools.cycle(STATUSES), strict=False)
        async with databases.open_pool(self._dsn, service="storm", size_max=1) as pool:
            while not stop.is_set():
                instance, status = next(changes)
                self._possible[instance].add(status)
                try:
                    await pool.execute("update vps_instances set status = $2 where id = $1", instance, status)
                except db.FAILURES:
                    # Whether it was committed is unknown. The server is away: yield to what brings it back.
                    await asyncio.sleep(0)
                    continue
                self._possible[instance] = {status}
                self.committed += 1

    async def matches(self, connection: asyncpg.Connection) -> bool:
        rows = await connection.fetch(
            "select id, status from vps_instances where id = any($1)", self._instances
        )
        return all(row["status"] in self._possible[UUID(str(row["id"]))] for row in rows)


async def statuses(connection: asyncpg.Connection) -> dict[str, int]:
    rows = await connection.fetch("select status, count(*) as amount from vps_instances group by status")
    return dict.fromkeys(STATUSES, 0) | {row["status"]: row["amount"] for row in rows}


@asynccontextmanager
async def reading(page: LivePage) -> AsyncIterator[list[dict[str, Any]]]:
    """Read all messages, so that the socket stays open between checks."""
    seen: list[dict[str, Any]] = []

    async def read() -> None:
        while True:
            seen.append(await page.next(60))

    task = asyncio.create_task(read())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


async def shows(page: LivePage, truth: dict[str, int], *, since: datetime) -> None:
    """Wait for the truth in a message that was read after it came to be, not in an older one that is still unread."""
    message = await page.next_with(**truth)
    while datetime.fromisoformat(message["timestamp"]) < since:
        message = await page.next_with(**truth)
