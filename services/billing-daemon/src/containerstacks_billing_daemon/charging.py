"""Charging: a run at once, then one every interval, for as long as this process leads.

Whoever takes over bills at once what is due, and the schedule follows the runs in the database. A run that
failed, whatever failed it, is retried at the next cycle. A pause is waited out. Between the runs, whoever is
in debt is billed as soon as money arrives.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final, assert_never

import structlog

from containerstacks_shared.billing.control import read_control
from containerstacks_shared.billing.documents import Biller, RunStatus, RunTrigger
from containerstacks_shared.billing.presence import Presence
from containerstacks_shared.billing.run import RunSummary, is_debt_payable, run_hourly_billing
from containerstacks_shared.billing.schedule import NextRun, read_next_run
from containerstacks_shared.billing.settling import SettlingAgain
from containerstacks_shared.core.errors import BillingBusy, BillingPaused, ContainerStacksError
from containerstacks_shared.core.waiting import first_of, happens_within
from containerstacks_shared.database.db import FAILURES, UNAVAILABLE, Connection, Pool
from containerstacks_shared.database.notify import RESYNC, Channel, Hint, Subscription

from . import metrics
from .reporting import Reporter
from .settings import BillingDaemonSettings
from .status_file import FileStatus

# How long a run waits for another one, a `once` for instance, before it says so.
_LOCK_SECONDS: Final = 30.0

# A lost hint, or a database clock that was set, costs at most this.
_LOOK_AGAIN_SECONDS: Final = 30.0

# Longer is as good as away.
_DATABASE_SECONDS: Final = 5.0

# However many top-ups arrive, they are looked at five times a second.
_SPACING_SECONDS: Final = 0.2

# What a process listens to that charges.
CHANNELS: Final = (Channel.BILLING_CHANGED, Channel.WALLET_TOPPED_UP)

_log = structlog.get_logger(__name__)


class Outcome(Enum):
    # Well or badly; what comes next is another run's matter.
    ENDED = auto()
    # Nothing was billed, and the run is still due.
    PAUSED = auto()
    BUSY = auto()


@dataclass
class Charging:
    """One term of charging; `subscription` hears `CHANNELS`."""

    pool: Pool
    settings: BillingDaemonSettings
    presence: Presence
    reporter: Reporter
    subscription: Subscription
    _settling_again: SettlingAgain = field(default_factory=SettlingAgain)
    _pause_logged: bool = False
    _not_before: float = 0.0

    async def charge_until(self, halt: asyncio.Event) -> None:
        """Setting `halt` ends a run after the batch in hand."""
        await self.reporter.report(FileStatus.RUNNING, next_run=None)
        trigger: RunTrigger | None = RunTrigger.START
        while trigger is not None and not halt.is_set():
            outcome = await self._run(trigger, halt)
            match outcome:
                case Outcome.ENDED:
                    trigger = await self._next_trigger(halt)
                case Outcome.PAUSED:
                    await self._wait_until_resumed(halt)
                    # What the pause held up is more than the debts that a top-up would settle.
                    trigger = RunTrigger.SCHEDULE if trigger is RunTrigger.TOP_UP else trigger
                case Outcome.BUSY:
                    # The wait for the run lock was wait enough.
                    continue
                case _:
                    assert_never(outcome)

    # One run ------------------------------------------------------------------------------------

    async def _run(self, trigger: RunTrigger, halt: asyncio.Event) -> Outcome:
        started = asyncio.get_running_loop().time()
        try:
            summary = await run_hourly_billing(
                self.pool,
                listen_dsn=self.settings.listen_dsn,
                biller=Biller.DAEMON,
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
        except Exception as error:  # noqa: BLE001 - a failed run must not end the daemon, whatever failed it
            expected = isinstance(error, (ContainerStacksError, *UNAVAILABLE))
            _log.error("charging.failed", error=_describe(error), exc_info=None if expected else error)
            metrics.RUNS.labels(RunStatus.FAILED.value).inc()
            if trigger is RunTrigger.TOP_UP:
                self._settling_again.note_failure(asyncio.get_running_loop().time())
            else:
                self._not_before = started + self.settings.billing_interval.total_seconds()
                await self._record_failure(_describe(error))
            return Outcome.ENDED
        self._note_pause(None)
        self._settling_again.note_success()
        metrics.RUNS.labels(summary.status.value).inc()
        metrics.INSTANCES_BILLED.inc(summary.charged.instances_billed)
        metrics.SECONDS_BILLED.inc(summary.charged.hours_billed * metrics.SECONDS_PER_HOUR)
        if trigger is not RunTrigger.TOP_UP:
            await self._record(summary)
        return Outcome.ENDED

    async def _record(self, summary: RunSummary) -> None:
        charged = summary.charged
        if summary.status is RunStatus.FAILED:
            await self._record_failure(summary.error_message or "failed")
            return
        try:
            if summary.status is RunStatus.SUCCEEDED:
                await self.presence.record_success(
                    instances_billed=charged.instances_billed,
                    hours=charged.hours_billed,
                    amount=charged.amount_billed,
                )
        except FAILURES as error:
            _log.warning("charging.not_recorded", error=_describe(error))
        await self._report(FileStatus.RUNNING)

    async def _record_failure(self, message: str) -> None:
        try:
            await self.presence.record_failure(message)
        except FAILURES as error:
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

    async def _next_trigger(self, halt: asyncio.Event) -> RunTrigger | None:
        """Wait until there is something to bill; None when `halt` comes first."""
        loop = asyncio.get_running_loop()
        while not halt.is_set():
            due = await self._next_run()
            wait = self._not_before - loop.time()
            # Unknown means that the database is away, or that the only run was never recorded.
            wait = max(wait, due.due_in.total_seconds() if due is not None else 1.0)
            if wait <= 0:
                return RunTrigger.SCHEDULE
            again = self._settling_again.seconds_left(loop.time())
            hints = await self._hints(halt, min(wait, again, _LOOK_AGAIN_SECONDS))
            again = self._settling_again.seconds_left(loop.time())
            if Channel.WALLET_TOPPED_UP in hints or RESYNC in hints or again == 0:
                if await self._is_debt_payable():
                    return RunTrigger.TOP_UP
                await happens_within(halt, _SPACING_SECONDS)
        return None

    async def _wait_until_resumed(self, halt: asyncio.Event) -> None:
        while not halt.is_set() and await self._is_paused():
            await self._hints(halt, _LOOK_AGAIN_SECONDS)

    async def _hints(self, halt: asyncio.Event, seconds: float) -> frozenset[Hint]:
        heard: frozenset[Hint] = frozenset()

        async def listen() -> None:
            nonlocal heard
            heard = await self.subscription.wait(seconds)

        await first_of(halt.wait(), listen())
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
            self._settling_again.note_failure(asyncio.get_running_loop().time())
            return False
        if not payable:
            self._settling_again.note_success()
        return payable

    @asynccontextmanager
    async def _short_connection(self) -> AsyncIterator[Connection]:
        async with asyncio.timeout(_DATABASE_SECONDS), self.pool.acquire() as connection:
            yield connection


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
