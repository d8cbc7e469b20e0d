"""Charging: a run at once, then one every interval, for as long as this process leads.

Whoever takes over bills at once what is due, and the schedule follows the runs in the database. A run that
failed, whatever failed it, is retried at the next cycle. A pause is waited out.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final, assert_never

import structlog

from containerstacks_shared.billing.control import read_control
from containerstacks_shared.billing.presence import Presence
from containerstacks_shared.billing.run import RunSummary, run_hourly_billing
from containerstacks_shared.db import UNAVAILABLE, Pool
from containerstacks_shared.errors import BillingBusy, BillingPaused, ContainerStacksError
from containerstacks_shared.models import Biller, Occasion, RunStatus
from containerstacks_shared.notify import Subscription
from containerstacks_shared.store.billing_schedule import NextRun, read_next_run
from containerstacks_shared.waiting import first_of

from . import metrics
from .reporting import Reporter
from .settings import BillingDaemonSettings
from .status_file import FileStatus

# How long a run waits for another one, a `once` for instance, before it says so.
_LOCK_SECONDS: Final = 30.0

# A lost hint, or a database clock that was set, costs at most this.
_LOOK_AGAIN_SECONDS: Final = 30.0

_MEASURE_EVERY: Final = timedelta(minutes=1)

_log = structlog.get_logger(__name__)


class Outcome(Enum):
    BILLED = auto()
    FAILED = auto()
    # Nothing was billed, and the run is still due.
    PAUSED = auto()
    BUSY = auto()


@dataclass
class Charging:
    """One term of charging. `subscription` hears `billing_changed`, which ends a pause without a delay."""

    pool: Pool
    settings: BillingDaemonSettings
    presence: Presence
    reporter: Reporter
    subscription: Subscription
    _pause_logged: bool = False
    _not_before: float = 0.0
    _measured_at: float | None = None

    async def charge_until(self, halt: asyncio.Event) -> None:
        """Setting `halt` ends a run after the batch in hand."""
        await self.reporter.report(FileStatus.RUNNING, next_run=None)
        occasion = Occasion.START
        while not halt.is_set():
            outcome = await self._run(occasion, halt)
            match outcome:
                case Outcome.BILLED | Outcome.FAILED:
                    occasion = Occasion.SCHEDULE
                    await self._wait_until_due(halt)
                case Outcome.PAUSED:
                    await self._wait_until_resumed(halt)
                case Outcome.BUSY:
                    # The wait for the run lock was wait enough.
                    continue
                case _:
                    assert_never(outcome)

    # One run ------------------------------------------------------------------------------------

    async def _run(self, occasion: Occasion, halt: asyncio.Event) -> Outcome:
        started = asyncio.get_running_loop().time()
        try:
            summary = await run_hourly_billing(
                self.pool,
                listen_dsn=self.settings.listen_dsn,
                biller=Biller.DAEMON,
                occasion=occasion,
                settings=self.settings,
                stop=halt,
                lock_timeout=_LOCK_SECONDS,
            )
        except BillingPaused as paused:
            self._note_pause(paused)
            return Outcome.PAUSED
        except BillingBusy as busy:
            if not halt.is_set():
                _log.info("charging.busy", reason=str(busy))
            return Outcome.BUSY
        except Exception as error:  # noqa: BLE001 - a failed run must not end the daemon, whatever failed it
            expected = isinstance(error, (ContainerStacksError, *UNAVAILABLE))
            _log.error("charging.failed", error=_describe(error), exc_info=None if expected else error)
            self._not_before = started + self.settings.billing_interval.total_seconds()
            await self._record_failure(_describe(error))
            return Outcome.FAILED
        self._note_pause(None)
        await self._record(summary)
        return Outcome.BILLED

    async def _record(self, summary: RunSummary) -> None:
        charged = summary.charged
        metrics.RUNS.labels(summary.status.value).inc()
        metrics.INSTANCES_BILLED.inc(charged.instances_billed)
        metrics.HOURS_BILLED.inc(charged.hours_billed)
        try:
            if summary.status is RunStatus.SUCCEEDED:
                await self.presence.record_success(
                    instances_billed=charged.instances_billed,
                    hours=charged.hours_billed,
                    amount=charged.amount_billed,
                )
            elif summary.status is RunStatus.FAILED:
                await self.presence.record_failure(summary.error_message or "failed")
        except UNAVAILABLE as error:
            _log.warning("charging.not_recorded", error=_describe(error))
        failed = summary.status is RunStatus.FAILED
        await self._report(FileStatus.ERROR if failed else FileStatus.RUNNING)

    async def _record_failure(self, message: str) -> None:
        metrics.RUNS.labels(RunStatus.FAILED.value).inc()
        try:
            await self.presence.record_failure(message)
        except UNAVAILABLE as error:
            _log.warning("charging.not_recorded", error=_describe(error))
        await self._report(FileStatus.ERROR)

    async def _report(self, status: FileStatus) -> None:
        due = await self._next_run()
        estimate = datetime.now(UTC) + self.settings.billing_interval
        await self.reporter.report(status, next_run=due.at if due is not None else estimate)

    def _note_pause(self, paused: BillingPaused | None) -> None:
        metrics.PAUSED.set(paused is not None)
        if paused is not None and not self._pause_logged:
            _log.warning("charging.paused", reason=str(paused))
        if paused is None and self._pause_logged:
            _log.info("charging.resumed")
        self._pause_logged = paused is not None

    # Between runs -------------------------------------------------------------------------------

    async def _wait_until_due(self, halt: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not halt.is_set():
            due = await self._next_run()
            wait = self._not_before - loop.time()
            # Unknown means that the database is away, or that the only run was never recorded.
            wait = max(wait, due.due_in.total_seconds() if due is not None else 1.0)
            if wait <= 0:
                return
            await self._measure(loop.time())
            await self._hint_within(halt, min(wait, _LOOK_AGAIN_SECONDS))

    async def _wait_until_resumed(self, halt: asyncio.Event) -> None:
        while not halt.is_set() and await self._is_paused():
            await self._measure(asyncio.get_running_loop().time())
            await self._hint_within(halt, _LOOK_AGAIN_SECONDS)

    async def _hint_within(self, halt: asyncio.Event, seconds: float) -> None:
        await first_of(halt.wait(), self.subscription.wait(seconds))

    async def _next_run(self) -> NextRun | None:
        try:
            async with self.pool.acquire() as connection:
                return await read_next_run(connection, interval=self.settings.billing_interval)
        except UNAVAILABLE:
            return None

    async def _is_paused(self) -> bool:
        try:
            async with self.pool.acquire() as connection:
                return (await read_control(connection)).paused
        except UNAVAILABLE:
            return True

    async def _measure(self, now: float) -> None:
        if self._measured_at is not None and now - self._measured_at < _MEASURE_EVERY.total_seconds():
            return
        self._measured_at = now
        try:
            await self.reporter.measure_owed_hours()
        except UNAVAILABLE as error:
            _log.info("charging.not_measured", error=_describe(error))


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
