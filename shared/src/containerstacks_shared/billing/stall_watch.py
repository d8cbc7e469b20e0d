"""Watches whether billing makes progress while this process leads: for log, readiness, watchdog and metrics."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.waiting import race, wait_for_event
from containerstacks_shared.database.db import FAILURES, Pool
from containerstacks_shared.database.notify import Subscription

from .progress import Progress, patience, progress_is_healthy, read_progress
from .term_observer import TermObserver

# No notification says that hours became due, or stayed so.
_LOOK_SECONDS: Final = 60.0
# A look reads every instance: however often runs end, looks take a twentieth of the time at most.
_PAUSE_SECONDS_MIN: Final = 1.0
_PAUSE_PER_LOOK: Final = 19.0

_log = structlog.get_logger(__name__)


class StallWatch:
    """Holds no reading while this process does not lead."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._progress: Progress | None = None
        # When the last look succeeded, or the first was to come, by the loop's clock; None while we do not lead.
        self._read_at: float | None = None

    @property
    def leads(self) -> bool:
        return self._read_at is not None

    @property
    def is_healthy(self) -> bool:
        """Whether billing made progress at the last reading; a process for which this stays false is restarted."""
        return self._progress is None or progress_is_healthy(self._progress)

    @property
    def reasons_not_ready(self) -> list[str]:
        if self._progress is None or self.is_healthy:
            return []
        return [f"hours since {self._progress.stalled_since:%Y-%m-%d %H:%M} UTC are due and not billed"]

    @property
    def stuck(self) -> str | None:
        """Why this process should be ended, so that another biller takes over, or it starts afresh.

        A leader has a connection to the database. If it cannot read for so long all the same, the fault is its own.
        """
        if self.reasons_not_ready:
            return self.reasons_not_ready[0]
        allowed = patience(self._interval).total_seconds()
        if self._read_at is not None and asyncio.get_running_loop().time() - self._read_at > allowed:
            return f"what is due could not be read for {allowed / 60:.0f} minutes"
        return None

    async def watch(
        self, pool: Pool, observer: TermObserver, heard: Subscription, halt: asyncio.Event
    ) -> None:
        """`heard` hears `BILLING_CHANGED`: a run began or ended, or there is a pause."""
        clock = asyncio.get_running_loop().time
        pause = _PAUSE_SECONDS_MIN
        self._read_at = clock()
        try:
            # A new leader finds hours that have waited, and needs a moment to begin billing them.
            while not await wait_for_event(halt, pause):
                started = clock()
                await self._look(pool, observer)
                pause = max(_PAUSE_SECONDS_MIN, _PAUSE_PER_LOOK * (clock() - started))
                if self.is_healthy:
                    await race(halt.wait(), heard.wait(_LOOK_SECONDS))
        finally:
            self._progress = None
            self._read_at = None

    async def _look(self, pool: Pool, observer: TermObserver) -> None:
        try:
            async with pool.acquire() as connection:
                progress = await read_progress(connection, interval=self._interval)
        except FAILURES as error:
            _log.info("progress.not_read", error=describe(error))
            return
        self._read_at = asyncio.get_running_loop().time()
        was_healthy, self._progress = self.is_healthy, progress
        observer.progress_read(progress)
        if was_healthy and not self.is_healthy:
            _log.error("progress.stalled", since=str(progress.stalled_since), hours_owed=progress.owed.hours)
        elif self.is_healthy and not was_healthy:
            _log.info("progress.resumed")
