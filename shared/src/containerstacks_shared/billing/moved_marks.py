"""Instances whose `last_billed_at` somebody moved: those that would be charged an hour twice wait."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection, Pool, limit_transaction
from containerstacks_shared.database.locks import Term, assert_term

from . import batches

log = structlog.get_logger(__name__)

_QUERIES = load(__name__)
# A whole fleet that was restored takes longer. It is billed as the runs get to it, and keeps nobody else waiting.
_SECONDS_MAX = 60.0
# One organization with a very long history.
_STATEMENT_SECONDS_MAX = 60.0
_LOCK_WAIT_MAX: Final = "2s"
_NAMED_MAX: Final = 20


async def compare(pool: Pool, term: Term, *, batch_size: int, stop: asyncio.Event) -> list[dict[str, object]]:
    """Compare moved marks with what was charged, and return what an operator should look at.

    Takes about `batch_size` instances at a time, and ends after a minute or at `stop`: marks that were not
    compared by then wait for the next run. Raises `LeadershipLost`.
    """
    give_up = time.monotonic() + _SECONDS_MAX
    async with pool.acquire() as connection:
        rows = await connection.fetch(_QUERIES["organizations"])
    work = [(row["organization_id"], row["instances"]) for row in rows]
    set_back: list[asyncpg.Record] = []
    left = 0
    for organizations in batches.by_organization(work, instances_max=batch_size):
        if stop.is_set() or time.monotonic() >= give_up:
            left += len(organizations)
            continue
        try:
            set_back += await _compare(pool, term, organizations)
        except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError) as error:
            log.warning("marks.not_compared", organizations=len(organizations), error=describe(error))
            left += len(organizations)
    for row in set_back[:_NAMED_MAX]:
        log.error(
            "instance.mark_set_back",
            vps_instance_id=str(row["vps_instance_id"]),
            billed_until=row["billed_until"].isoformat(),
            charged_until=row["charged_until"].isoformat(),
        )
    found = {"mark_set_back": len(set_back), "marks_not_compared": left}
    return [{"problem": problem, "count": count} for problem, count in found.items() if count]


async def notice_set_back(connection: Connection, organization: UUID) -> int:
    """Make instances wait whose hours were charged before. Returns how many."""
    count: int = await connection.fetchval(_QUERIES["notice_set_back"], organization)
    return count


async def _compare(pool: Pool, term: Term, organizations: Sequence[UUID]) -> list[asyncpg.Record]:
    async with pool.acquire() as connection, connection.transaction():
        await assert_term(connection, term)
        await limit_transaction(
            connection, lock_wait_max=_LOCK_WAIT_MAX, statement_seconds_max=_STATEMENT_SECONDS_MAX
        )
        return await connection.fetch(_QUERIES["compare"], organizations, timeout=_STATEMENT_SECONDS_MAX + 5)
