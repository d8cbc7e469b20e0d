"""Recording: what the fleet looks like each minute, for the charts."""

import asyncio

import structlog

from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import locks
from containerstacks_shared.database.db import Pool
from containerstacks_shared.database.locks import Term
from containerstacks_shared.fleet import counts
from containerstacks_shared.status import history
from containerstacks_shared.status.history import Retention

from . import metrics

_log = structlog.get_logger(__name__)


async def record_until(halt: asyncio.Event, *, pool: Pool, term: Term, retention: Retention) -> None:
    """Write the counts down at once and then at the beginning of each minute.

    A minute in which nobody led, or the database was away, stays without a record: it is not made up later.
    """
    while not halt.is_set():
        await wait_for_event(halt, await _record(pool, term, retention))


async def _record(pool: Pool, term: Term, retention: Retention) -> float:
    """Return the seconds until the next minute, by the database's clock."""
    async with pool.acquire() as connection, connection.transaction():
        await locks.assert_term(connection, term)
        now = (await counts.read_vps_statistics(connection)).by_status
        await history.record(connection, now, retention)
        seconds = await history.seconds_to_next_minute(connection)
    metrics.RECORDED_AT.set_to_current_time()
    _log.debug("history.recorded", total=now.total)
    return seconds
