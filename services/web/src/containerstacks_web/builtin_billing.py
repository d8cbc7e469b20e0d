"""The built-in hourly billing: it steps in when no billing daemon is alive, and steps back when one is.

Every web process stands by, and says so with a shared lock: a daemon that stops then knows that somebody
takes over, and leaves its last heartbeat standing. Of the processes that stand by, the one that gets the role
bills at once what is due, and then keeps the schedule. Money is safe whoever bills, and even when two do:
charging once is the database's promise. Who bills is a matter of order only.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from containerstacks_shared.billing.control import read_control
from containerstacks_shared.billing.debt_hook import DebtHook
from containerstacks_shared.billing.documents import Biller, RunStatus, RunTrigger
from containerstacks_shared.billing.presence import BEAT_INTERVAL, Presence, hand_back_if_last
from containerstacks_shared.billing.run import RunSummary, is_debt_payable, run_hourly_billing
from containerstacks_shared.billing.schedule import read_next_run
from containerstacks_shared.billing.settling import SettlingAgain
from containerstacks_shared.billing.status import is_daemon_alive
from containerstacks_shared.core.errors import (
    BillingBusy,
    BillingPaused,
    ContainerStacksError,
    LeadershipLost,
)
from containerstacks_shared.core.waiting import either, first_of, happens_within, in_own_task
from containerstacks_shared.database.db import FAILURES, UNAVAILABLE, Pool
from containerstacks_shared.database.leading import lead_until_stopped
from containerstacks_shared.database.locks import Leadership, Role, Term
from containerstacks_shared.database.notify import RESYNC, Channel, Listener, Subscription

from .metrics import BUILTIN_BILLING_ACTIVE
from .settings import WebSettings

CHANNELS: Final = (Channel.BILLING_CHANGED, Channel.WALLET_TOPPED_UP)

_GRACE: Final = timedelta(seconds=5)
_LOOK_SECONDS: Final = 1.0
# A daemon that only lost its connection for a moment gets its role back before anybody takes over.
_GONE_SECONDS: Final = 2.0
_BUSY_SECONDS: Final = 30.0
_DATABASE_SECONDS_MAX: Final = 3.0
_GIVES_UP: Final[tuple[type[Exception], ...]] = (LeadershipLost, *FAILURES)

_log = structlog.get_logger(__name__)


class BuiltinBilling:
    """`grace` is how long a daemon that starts together with this process has to come up first."""

    def __init__(self, pool: Pool, settings: WebSettings, listener: Listener) -> None:
        self.grace = _GRACE
        self._pool = pool
        self._settings = settings
        self._listener = listener
        self._gone_since: float | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by, and bill when it takes it, until `stop`; then let everybody know that we are gone."""
        finished = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hold_standby(finished))
            try:
                await self._take_turns(stop)
            finally:
                finished.set()
        try:
            async with asyncio.timeout(_DATABASE_SECONDS_MAX):
                await hand_back_if_last(self._pool)
        except FAILURES as error:
            _log.warning("builtin_billing.not_handed_back", error=_describe(error))

    async def _hold_standby(self, finished: asyncio.Event) -> None:
        async def hold(_term: Term, over: asyncio.Event) -> None:
            await over.wait()

        await lead_until_stopped(self._leadership(Role.BUILTIN_STANDBY), hold, stop=finished)

    async def _take_turns(self, stop: asyncio.Event) -> None:
        subscription = self._listener.subscribe(Channel.BILLING_CHANGED)
        await happens_within(stop, self.grace.total_seconds())
        async with self._leadership(Role.BUILTIN_BILLING) as leadership:
            while not stop.is_set():
                if await self._is_wanted():
                    await self._lead(leadership, subscription, stop)
                await first_of(stop.wait(), subscription.wait(_LOOK_SECONDS))

    async def _is_wanted(self) -> bool:
        now = asyncio.get_running_loop().time()
        if await self._is_daemon_alive() is not False:
            self._gone_since = None
            return False
        self._gone_since = self._gone_since or now
        return now - self._gone_since >= _GONE_SECONDS

    async def _is_daemon_alive(self) -> bool | None:
        """Return None when the database does not say."""
        try:
            async with asyncio.timeout(_DATABASE_SECONDS_MAX), self._pool.acquire() as connection:
                return await is_daemon_alive(connection)
        except FAILURES:
            return None

    async def _lead(self, leadership: Leadership, subscription: Subscription, stop: asyncio.Event) -> None:
        try:
            term = await leadership.try_acquire()
        except FAILURES as error:
            _log.info("builtin_billing.not_taken", error=_describe(error))
            return
        if term is None:
            return
        presence = Presence(self._pool, Biller.BUILTIN, term, interval=self._settings.billing_interval)
        _log.info("builtin_billing.took_over", term=term.number)
        BUILTIN_BILLING_ACTIVE.set(1)
        try:
            async with either(stop, leadership.lost) as over:
                await in_own_task(self._serve_term(presence, subscription, over))
        except* _GIVES_UP as group:
            _log.warning("builtin_billing.given_up", error=_describe(group.exceptions[0]))
        finally:
            BUILTIN_BILLING_ACTIVE.set(0)
            # In this order: of several billers that stop together, the last one must find that it is the last.
            await leadership.release()
            await _say_goodbye(presence)

    async def _serve_term(self, presence: Presence, subscription: Subscription, over: asyncio.Event) -> None:
        await presence.start()
        halt = asyncio.Event()
        heard = self._listener.subscribe(*CHANNELS)
        charging = _Charging(self._pool, self._settings, presence, heard)
        changes = self._listener.subscribe(Channel.BILLING_CHANGED)
        hook = DebtHook(self._pool, self._settings, changes)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(subscription, over, halt))
                group.create_task(_beat_until(halt, presence))
                group.create_task(charging.charge_until(halt))
                group.create_task(hook.run(halt))
        finally:
            self._listener.unsubscribe(heard)
            self._listener.unsubscribe(changes)

    async def _watch(self, subscription: Subscription, over: asyncio.Event, halt: asyncio.Event) -> None:
        """Set `halt` when the term is over or the daemon is back."""
        try:
            while not over.is_set():
                if await self._is_daemon_alive():
                    _log.info("builtin_billing.daemon_is_back")
                    return
                await first_of(over.wait(), subscription.wait(_LOOK_SECONDS))
        finally:
            halt.set()

    def _leadership(self, role: Role) -> Leadership:
        return Leadership(self._settings.listen_dsn, role, service="web")


async def _say_goodbye(presence: Presence) -> None:
    try:
        async with asyncio.timeout(_DATABASE_SECONDS_MAX):
            await presence.stop()
    except FAILURES as error:
        # The row goes stale by itself, and the next biller that starts clears it.
        _log.warning("builtin_billing.no_goodbye", error=_describe(error))


async def _beat_until(halt: asyncio.Event, presence: Presence) -> None:
    """Beat, also while a run goes on. Raises `LeadershipLost` when somebody else took the role."""
    while not await happens_within(halt, BEAT_INTERVAL.total_seconds()):
        try:
            async with asyncio.timeout(_DATABASE_SECONDS_MAX):
                await presence.beat()
        except FAILURES as error:
            # The lock and its term decide who bills; a missed beat alone does not.
            _log.warning("builtin_billing.beat_missed", error=_describe(error))


@dataclass
class _Charging:
    """The runs of one term."""

    pool: Pool
    settings: WebSettings
    presence: Presence
    heard: Subscription
    _settling_again: SettlingAgain = field(default_factory=SettlingAgain)
    _paused: bool = False
    _not_before: float = 0.0

    async def charge_until(self, halt: asyncio.Event) -> None:
        """Setting `halt` ends a run after the batch in hand."""
        trigger: RunTrigger | None = RunTrigger.START
        while not halt.is_set():
            if trigger is not None:
                await self._run(trigger, halt)
            trigger = await self._next_trigger()

    async def _run(self, trigger: RunTrigger, halt: asyncio.Event) -> None:
        started = asyncio.get_running_loop().time()
        try:
            summary = await run_hourly_billing(
                self.pool,
                listen_dsn=self.settings.listen_dsn,
                biller=Biller.BUILTIN,
                trigger=trigger,
                settings=self.settings,
                stop=halt,
                lock_timeout=_BUSY_SECONDS,
            )
        except BillingPaused as paused:
            if not self._paused:
                _log.warning("builtin_billing.paused", reason=str(paused))
            self._paused = True
        except BillingBusy as busy:
            if not halt.is_set():
                _log.info("builtin_billing.busy", reason=str(busy))
        except Exception as error:  # noqa: BLE001 - whatever failed a run, it is retried at the next cycle
            expected = isinstance(error, (ContainerStacksError, *UNAVAILABLE))
            _log.error("builtin_billing.failed", error=_describe(error), exc_info=None if expected else error)
            if trigger is RunTrigger.TOP_UP:
                self._settling_again.note_failure(asyncio.get_running_loop().time())
            else:
                self._not_before = started + self.settings.billing_interval.total_seconds()
                await self._record_failure(_describe(error))
        else:
            self._paused = False
            self._settling_again.note_success()
            if trigger is not RunTrigger.TOP_UP:
                await self._record(summary)

    async def _record(self, summary: RunSummary) -> None:
        if summary.status is RunStatus.FAILED:
            await self._record_failure(summary.error_message or "failed")
        elif summary.status is RunStatus.SUCCEEDED:
            charged = summary.charged
            try:
                await self.presence.record_success(
                    instances_billed=charged.instances_billed,
                    hours=charged.hours_billed,
                    amount=charged.amount_billed,
                )
            except FAILURES as error:
                _log.warning("builtin_billing.not_recorded", error=_describe(error))

    async def _record_failure(self, message: str) -> None:
        try:
            await self.presence.record_failure(message)
        except FAILURES as error:
            _log.warning("builtin_billing.not_recorded", error=_describe(error))

    async def _next_trigger(self) -> RunTrigger | None:
        """Wait a moment at most; None when nothing is to be done yet."""
        if self._paused:
            if not await self._is_paused():
                return RunTrigger.SCHEDULE
            await self.heard.wait(_LOOK_SECONDS)
            return None
        wait = await self._seconds_until_due()
        if wait <= 0:
            return RunTrigger.SCHEDULE
        hints = await self.heard.wait(min(wait, _LOOK_SECONDS))
        again = self._settling_again.seconds_left(asyncio.get_running_loop().time())
        topped_up = Channel.WALLET_TOPPED_UP in hints or RESYNC in hints
        if (topped_up or again == 0) and await self._can_settle():
            # An open debt is settled as soon as money arrives, not at the next hour.
            return RunTrigger.TOP_UP
        return None

    async def _seconds_until_due(self) -> float:
        wait = self._not_before - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_DATABASE_SECONDS_MAX), self.pool.acquire() as connection:
                due = await read_next_run(connection, interval=self.settings.billing_interval)
        except FAILURES:
            return max(wait, _LOOK_SECONDS)
        return wait if due is None else max(wait, due.due_in.total_seconds())

    async def _can_settle(self) -> bool:
        try:
            async with asyncio.timeout(_DATABASE_SECONDS_MAX), self.pool.acquire() as connection:
                payable = await is_debt_payable(connection)
        except FAILURES:
            # The hint is used up; whatever is wrong, a run finds it too, and says so.
            self._settling_again.note_failure(asyncio.get_running_loop().time())
            return False
        if not payable:
            self._settling_again.note_success()
        return payable

    async def _is_paused(self) -> bool:
        try:
            async with asyncio.timeout(_DATABASE_SECONDS_MAX), self.pool.acquire() as connection:
                return (await read_control(connection)).paused
        except FAILURES:
            return True


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
