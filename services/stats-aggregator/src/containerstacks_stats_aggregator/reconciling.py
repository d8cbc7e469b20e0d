"""Reconciling: recount the base tables now and then, and repair what drifted.

Nothing that goes through the triggers can drift; what goes around them (triggers disabled, a restored dump)
can. Drift does not show, until rows that were never counted are deleted and their count falls below zero: that
is repaired soon.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import locks
from containerstacks_shared.database.db import Pool
from containerstacks_shared.database.locks import Term
from containerstacks_shared.database.notify import Channel, announce
from containerstacks_shared.fleet import counts
from containerstacks_shared.fleet.counts import Drift

from . import metrics

# A whole fleet that drifted is one fact, not a thousand lines.
_LINES_MAX: Final = 20

# How soon a count below zero is seen, and so how often such counts cause a recount at most.
_LOOK_SECONDS: Final = 10.0

_log = structlog.get_logger(__name__)


async def reconcile_until(halt: asyncio.Event, *, pool: Pool, term: Term, interval: timedelta) -> None:
    """Recount at once, then every `interval`, and soon when a count is below zero."""
    clock = asyncio.get_running_loop().time
    while not halt.is_set():
        _report(await _reconcile(pool, term))
        due_at = clock() + interval.total_seconds()
        while not await wait_for_event(halt, min(_LOOK_SECONDS, due_at - clock())):
            if clock() >= due_at or await _is_below_zero(pool):
                break


async def _is_below_zero(pool: Pool) -> bool:
    async with pool.acquire() as connection:
        return await counts.is_below_zero(connection)


async def _reconcile(pool: Pool, term: Term) -> list[Drift]:
    async with pool.acquire() as connection, connection.transaction():
        await locks.assert_term(connection, term)
        drifts = await counts.reconcile(connection)
        if drifts:
            await announce(connection, Channel.COUNTS_CHANGED)
    return drifts


def _report(drifts: Sequence[Drift]) -> None:
    metrics.RECONCILED_AT.set_to_current_time()
    metrics.DRIFT.set(len(drifts))
    metrics.DRIFT_TOTAL.inc(len(drifts))
    for drift in drifts[:_LINES_MAX]:
        _log.warning(
            "reconciling.drift_repaired",
            metric=drift.metric,
            status=drift.status,
            plan_id=drift.plan_id,
            region=drift.region,
            recorded=drift.recorded,
            counted=drift.counted,
        )
    _log.info("reconciling.finished", drift=len(drifts))
