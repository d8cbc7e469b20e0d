"""The runs of one term: one at once, then one every interval.

A new leader bills at once what is due, and the schedule follows the runs in the database. A run that failed
because the database was away, or somebody held locks, is tried again: after a second at first, and never later than a
minute after it failed. These pauses grow across terms, because a run that takes the server down also ends its term.
A run that failed for another reason would fail again, so the next attempt is the next cycle. While billing is paused,
the loop waits. Between runs, debtors are billed as soon as money arrives.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final, assert_never

import structlog

from containerstacks_shared.core.backoff import Backoff
from containerstacks_shared.core.errors import (
    BillingBusy,
    BillingPaused,
    ContainerStacksError,
    LeadershipLost,
    describe,
)
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.core.waiting import race, wait_for_event
from containerstacks_shared.database.db import FAILURES, UNAVAILABLE, Connection, Pool
from containerstacks_shared.database.notify import RESYNC, Channel, Hint, Subscription

from .charge import Charged
from .control import read_control
from .documents import Biller, RunStatus, RunTrigger
from .heartbeat import Heartbeat
from .heartbeat_url import HeartbeatUrl
from .run import RunSummary, is_debt_payable, run_hourly_billing
from .schedule import NextRun, read_next_run
from .term_observer import TermObserver

# How long a run waits for another one, a `once` for instance, before it says so.
_LOCK_SECONDS: Final = 30.0

# A lost hint, or a database clock that was set, costs at most this.
_LOOK_AGAIN_SECONDS: Final = 30.0

# A longer delay counts as an outage.
_DATABASE_SECONDS: Final = 5.0

# Top-ups are looked at five times a second at most, however many arrive.
_SPACING_SECONDS: Final = 0.2

# Errors of an outage, during it or right after: lost sessions, and the run lock lost with its session.
_AWAY: Final[tuple[type[Exception], ...]] = (LeadershipLost, *UNAVAILABLE)

# The channels of a process that charges.
CHANNELS: Final = (Channel.BILLING_CHANGED, Channel.WALLET_TOPPED_UP)

_log = structlog.get_logger(__name__)


class Outcome(Enum):
    # Finished, well or badly.
    ENDED = auto()
    # The run is still due: it was paused, another one kept it waiting, or what failed it goes away by itself.
    PAUSED = auto()
    BUSY = auto()
    FAILED_FOR_NOW = auto()


@dataclass
class ChargingLoop:
    """One term of charging; `subscription` hears `CHANNELS`, and `run_again` outlives the term."""

    pool: Pool
    settings: BillingSettings
    biller: Biller
    heartbeat: Heartbeat
    observer: TermObserver
    heartbeat_url: HeartbeatUrl
    subscription: Subscription
    run_again: Backoff
    # The hint of a top-up is used up when its run fails, and the next hour would settle the debt too late.
    _settle_again: Backoff = field(default_factory=Backoff)
    _pause_logged: bool = False
    _not_before: float = 0.0

    async def charge_until(self, halt: asyncio.Event) -> None:
        """Setting `halt` ends a run after the current batch."""
        trigger: RunTrigger | None = RunTrigger.START
        if self.run_again.has_failed:
            await self._pause(halt)
        while trigger is not None and not halt.is_set():
            outcome = await self._run(trigger, halt)
            match outcome:
                case Outcome.ENDED:
                    trigger = await self._next_trigger(halt)
                case Outcome.PAUSED:
                    await self._wait_until_resumed(halt)
                    # What the pause held up is more than the debts that a top-up would settle.
                    trigger = RunTrigger.SCHEDULE if trigger is RunTrigger.TOP_UP else trigger
                case Outcome.FAILED_FOR_NOW:
                    await self._pause(halt)
                case Outcome.BUSY:
                    # No further pause: it has waited for the run lock.
                    continue
                case _:
                    assert_never(outcome)

    async def _pause(self, halt: asyncio.Event) -> None:
        await wait_for_event(halt, self.run_again.seconds_left(_now()))

    # One run ------------------------------------------------------------------------------------

    async def _run(self, trigger: RunTrigger, halt: asyncio.Event) -> Outcome:
        started = _now()
        try:
            summary = await run_hourly_billing(
                self.pool,
                listen_dsn=self.settings.listen_dsn,
                biller=self.biller,
                trigger=trigger,
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
        except Exception as error:  # noqa: BLE001 - a failed run must not end the process, whatever failed it
            return await self._note_failure(error, trigger, started)
        self._note_pause(None)
        self._settle_again.note_success()
        self.observer.run_ended(summary.status, summary.charged)
        if trigger is RunTrigger.TOP_UP:
            return Outcome.ENDED
        await self._record(summary)
        if summary.failed_by_contention:
            self.run_again.note_failure(_now())
            return Outcome.FAILED_FOR_NOW
        self.run_again.note_success()
        return Outcome.ENDED

    async def _note_failure(self, error: Exception, trigger: RunTrigger, started: float) -> Outcome:
        expected = isinstance(error, (ContainerStacksError, *UNAVAILABLE))
        _log.error("charging.failed", error=describe(error), exc_info=None if expected else error)
        self.observer.run_ended(RunStatus.FAILED, Charged())
        if trigger is RunTrigger.TOP_UP:
            self._settle_again.note_failure(_now())
            return Outcome.ENDED
        away = isinstance(error, _AWAY)
        if away:
            self.run_again.note_failure(_now())
        else:
            self._not_before = started + self.settings.billing_interval.total_seconds()
        await self._record_failure(describe(error))
        return Outcome.FAILED_FOR_NOW if away else Outcome.ENDED

    async def _record(self, summary: RunSummary) -> None:
        if summary.status is RunStatus.FAILED:
            await self._record_failure(summary.error_message or "failed")
            return
        charged = summary.charged
        if summary.status is RunStatus.SUCCEEDED:
            self.heartbeat_url.note(succeeded=True)
            try:
                async with asyncio.timeout(_DATABASE_SECONDS):
                    await self.heartbeat.record_success(
                        instances_billed=charged.instances_billed,
                        hours=charged.hours_billed,
                        amount=charged.amount_billed,
                    )
            except FAILURES as error:
                _log.warning("charging.not_recorded", error=describe(error))
        await self._report_schedule(failed=False)

    async def _record_failure(self, message: str) -> None:
        self.heartbeat_url.note(succeeded=False)
        try:
            async with asyncio.timeout(_DATABASE_SECONDS):
                await self.heartbeat.record_failure(message)
        except FAILURES as error:
            _log.warning("charging.not_recorded", error=describe(error))
        await self._report_schedule(failed=True)

    async def _report_schedule(self, *, failed: bool) -> None:
        due = await self._next_run()
        estimate = datetime.now(UTC) + self.settings.billing_interval
        await self.observer.scheduled(due.at if due is not None else estimate, failed=failed)

    def _note_pause(self, paused: BillingPaused | None) -> None:
        self.observer.paused(now=paused is not None)
        if paused is not None and not self._pause_logged:
            _log.warning("charging.paused", reason=str(paused))
        if paused is None and self._pause_logged:
            _log.info("charging.resumed")
        self._pause_logged = paused is not None

    # Between runs -------------------------------------------------------------------------------

    async def _next_trigger(self, halt: asyncio.Event) -> RunTrigger | None:
        """Wait until there is something to bill; None when `halt` comes first."""
        while not halt.is_set():
            due = await self._next_run()
            wait = self._not_before - _now()
            # Unknown means that the database is away, or that the only run was never recorded.
            wait = max(wait, due.due_in.total_seconds() if due is not None else 1.0)
            if wait <= 0:
                return RunTrigger.SCHEDULE
            again = self._settle_again.seconds_left(_now())
            hints = await self._hints(halt, min(wait, again, _LOOK_AGAIN_SECONDS))
            again = self._settle_again.seconds_left(_now())
            if Channel.WALLET_TOPPED_UP in hints or RESYNC in hints or again == 0:
                if await self._is_debt_payable():
                    return RunTrigger.TOP_UP
                await wait_for_event(halt, _SPACING_SECONDS)
        return None

    async def _wait_until_resumed(self, halt: asyncio.Event) -> None:
        while not halt.is_set() and await self._is_paused():
            await self._hints(halt, _LOOK_AGAIN_SECONDS)

    async def _hints(self, halt: asyncio.Event, seconds: float) -> frozenset[Hint]:
        heard: frozenset[Hint] = frozenset()

        async def listen() -> None:
            nonlocal heard
            heard = await self.subscription.wait(seconds)

        await race(halt.wait(), listen())
        return heard

    async def _next_run(self) -> NextRun | None:
        try:
            async with self._short_connection() as connection:
                return await read_next_run(connection, interval=self.settings.billing_interval)
        except FAILURES:
            return None

    async def _is_paused(self) -> bool:
        try:
            async with self._short_connection() as connection:
                return (await read_control(connection)).paused
        except FAILURES:
            return True

    async def _is_debt_payable(self) -> bool:
        try:
            async with self._short_connection() as connection:
                payable = await is_debt_payable(connection)
        except FAILURES:
            # The hint is used up; whatever is wrong, a run finds it too, and says so.
            self._settle_again.note_failure(_now())
            return False
        if not payable:
            self._settle_again.note_success()
        return payable

    @asynccontextmanager
    async def _short_connection(self) -> AsyncIterator[Connection]:
        async with asyncio.timeout(_DATABASE_SECONDS), self.pool.acquire() as connection:
            yield connection


def _now() -> float:
    return asyncio.get_running_loop().time()
