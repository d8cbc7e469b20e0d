"""Folding: what writers appended to `count_deltas` moves into `counts`, and every web process is notified."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from containerstacks_shared.core import tracing
from containerstacks_shared.core.waiting import race, wait_for_event
from containerstacks_shared.database import locks
from containerstacks_shared.database.db import Pool
from containerstacks_shared.database.locks import Term
from containerstacks_shared.database.notify import Channel, Subscription, announce
from containerstacks_shared.fleet import counts

from . import metrics
from .waking import WakingClock

# Long enough to be efficient, short enough that a successor never waits for it.
BATCH_DELTAS: Final = 50_000

# A lost hint, or one that a writer left out because another was sending, costs this much latency.
_IDLE_SECONDS: Final = 0.25

# Browsers get at most twenty messages a second; folding more often would gain nothing.
_SPACING_SECONDS: Final = 0.05

# So many deltas in one fold are a storm: a thousand changes a second. Each hint wakes every process, and the page is
# redrawn for the next one anyway, so in a storm there is one hint for all writers, every so often.
_STORM_DELTAS: Final = 50
_STORM_SECONDS: Final = 0.2

_log = structlog.get_logger(__name__)


class FoldProgress:
    """The progress of folding, for the record of the live data component.

    What the process slept through is left out.
    """

    def __init__(self, clock: WakingClock) -> None:
        self._clock = clock
        self._caught_up_at = self._got_on_at = clock.time()

    @property
    def standing_still(self) -> timedelta:
        """How long ago anything was last folded, or found to need none: each step has a limit in time."""
        return timedelta(seconds=self._clock.time() - self._got_on_at)

    @property
    def behind(self) -> timedelta:
        """How long ago there was last nothing left to fold."""
        return timedelta(seconds=self._clock.time() - self._caught_up_at)

    def note_step(self) -> None:
        self._got_on_at = self._clock.time()

    def note_caught_up(self) -> None:
        self._caught_up_at = self._clock.time()
        metrics.CAUGHT_UP_AT.set_to_current_time()


async def fold_until(
    halt: asyncio.Event, *, pool: Pool, term: Term, subscription: Subscription, progress: FoldProgress
) -> None:
    """Fold whenever something was appended."""
    # Once in any case: a leader that was replaced finds out, and a successor shows that it leads.
    due = True
    while not halt.is_set():
        folded = await _fold(pool, term, progress) if due else 0
        if folded >= BATCH_DELTAS:
            continue
        if folded >= _STORM_DELTAS:
            await _hint_for_all(halt, pool)
            continue
        await race(halt.wait(), subscription.wait(_IDLE_SECONDS))
        # Web has the same hint, reads counts and deltas, and tells every browser first.
        await wait_for_event(halt, _SPACING_SECONDS)
        due = await _is_due(pool, progress)


async def _hint_for_all(halt: asyncio.Event, pool: Pool) -> None:
    """Let writers be silent for a while, then send one hint in their stead.

    They are silent while this transaction holds the lock under which they send. If this process stops meanwhile,
    the server ends the transaction.
    """
    async with pool.acquire() as connection, connection.transaction():
        if await counts.hold_hints(connection, wait_max=timedelta(seconds=_STORM_SECONDS)):
            await wait_for_event(halt, _STORM_SECONDS)
            await announce(connection, Channel.COUNT_DELTAS)


async def _is_due(pool: Pool, progress: FoldProgress) -> bool:
    async with pool.acquire() as connection:
        some = await counts.has_deltas(connection)
    progress.note_step()
    if not some:
        progress.note_caught_up()
    return some


async def _fold(pool: Pool, term: Term, progress: FoldProgress) -> int:
    with tracing.span("folding.fold") as span:
        async with pool.acquire() as connection:
            async with connection.transaction():
                await locks.assert_term(connection, term)
                folded = await counts.fold_deltas(connection, BATCH_DELTAS)
                if folded:
                    await announce(connection, Channel.COUNTS_CHANGED)
            pending = await counts.pending_deltas(connection) if folded >= BATCH_DELTAS else 0
        span.note(deltas=folded, pending=pending)
    progress.note_step()
    if folded:
        metrics.FOLDS.inc()
        metrics.DELTAS_FOLDED.inc(folded)
    metrics.DELTAS_PENDING.set(pending)
    if not pending:
        progress.note_caught_up()
    _log.debug("folding.folded", deltas=folded, pending=pending)
    return folded
