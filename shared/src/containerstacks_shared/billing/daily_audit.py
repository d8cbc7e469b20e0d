"""Auditing the money once a day, by the active biller, at a quiet moment between two runs.

An audit reads one snapshot and locks nothing, so no run waits for it. It is still cut off before the next scheduled
run, and repeated later.
"""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.waiting import race
from containerstacks_shared.database.db import UNAVAILABLE, Connection, Pool
from containerstacks_shared.database.notify import Subscription

from . import audit_records
from .audit import audit
from .owed_hours import run_is_under_way
from .progress import patience
from .schedule import read_next_run
from .term_observer import TermObserver

EVERY: Final = timedelta(days=1)
# After an audit that was cut off or failed.
_AGAIN_AFTER: Final = timedelta(hours=1)
_LASTS_MAX: Final = timedelta(minutes=30)

_LOOK_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


class DailyAudit:
    def __init__(self, pool: Pool, observer: TermObserver, *, interval: timedelta) -> None:
        self._pool = pool
        self._observer = observer
        self._interval = interval

    async def audit_until(self, halt: asyncio.Event, heard: Subscription) -> None:
        """`heard` hears `BILLING_CHANGED`: when a run has ended, there is time."""
        while not halt.is_set():
            try:
                await race(halt.wait(), self._audit_when_due())
            except UNAVAILABLE as error:
                _log.info("audit.not_done", error=describe(error))
            except Exception as error:  # noqa: BLE001 - a failed audit must not stop billing
                _log.error("audit.failed", error=describe(error), exc_info=error)
            await race(halt.wait(), heard.wait(_LOOK_SECONDS))

    async def _audit_when_due(self) -> None:
        async with self._pool.acquire() as connection:
            await self._report(connection)
            if not await audit_records.is_due(connection, every=EVERY, again_after=_AGAIN_AFTER):
                return
            limit = await self._quiet_time(connection)
            if limit is None:
                return
            try:
                async with asyncio.timeout(limit.total_seconds()):
                    await audit(connection)
            except TimeoutError:
                _log.warning("audit.cut_off", after_seconds=round(limit.total_seconds()))
            await self._report(connection)

    async def _quiet_time(self, connection: Connection) -> timedelta | None:
        """Time until the next run; None when it is too short for an audit."""
        # In this order: a first run that starts between the two is seen.
        scheduled = await read_next_run(connection, interval=self._interval)
        if scheduled is None or scheduled.due_in < self._interval / 2:
            return None
        if await run_is_under_way(connection, patience=patience(self._interval)):
            return None
        return min(scheduled.due_in, _LASTS_MAX)

    async def _report(self, connection: Connection) -> None:
        last = await audit_records.read_last(connection)
        if last is not None:
            self._observer.audit_read(last)
