"""The work of the active biller: what the billing daemon and web's built-in biller do while they lead.

They differ in when they want to lead, and in what they observe. A term registers the biller, beats, charges, calls the
debt hook and HEARTBEAT_URL, audits once a day, and watches whether billing makes progress. Money is safe
with any biller, and even with two: the database guarantees that each hour is charged once.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from containerstacks_shared.core.backoff import Backoff
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.database.db import Pool
from containerstacks_shared.database.leading import Wanted, lead_until_stopped
from containerstacks_shared.database.locks import Leadership, Term
from containerstacks_shared.database.notify import Channel, Listener, Subscription

from .charging_loop import CHANNELS, ChargingLoop
from .daily_audit import DailyAudit
from .debt_hook import DebtHook
from .documents import Biller
from .heartbeat import ROLES, Heartbeat
from .heartbeat_url import HeartbeatUrl
from .stall_watch import StallWatch
from .term_observer import TermObserver


class BillingTerm:
    """A candidate for being the active biller of its kind. `listener` hears at least `CHANNELS`."""

    def __init__(
        self,
        pool: Pool,
        settings: BillingSettings,
        listener: Listener,
        biller: Biller,
        *,
        service: str,
        observer: TermObserver | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        self.stall_watch = StallWatch(settings.billing_interval)
        self._pool = pool
        self._settings = settings
        self._listener = listener
        self._biller = biller
        self._service = service
        self._observer = observer or TermObserver()
        self._wanted = wanted
        self._heartbeat: Heartbeat | None = None
        self._run_again = Backoff()
        self._hook = DebtHook(pool, settings)

    async def serve(self, stop: asyncio.Event) -> None:
        """Bill whenever it is wanted and the role is ours, until `stop`."""
        leadership = Leadership(self._settings.listen_dsn, ROLES[self._biller], service=self._service)
        await lead_until_stopped(
            leadership, self._bill, stop=stop, wanted=self._wanted, released=self._deregister
        )

    async def _bill(self, term: Term, halt: asyncio.Event) -> None:
        pool, observer = self._pool, self._observer
        heartbeat = Heartbeat(pool, self._biller, term, interval=self._settings.billing_interval)
        self._heartbeat = heartbeat
        await heartbeat.register()
        await observer.began()
        try:
            with (
                self._hearing(*CHANNELS) as for_charging,
                self._hearing(Channel.BILLING_CHANGED) as for_hook,
                self._hearing(Channel.BILLING_CHANGED) as for_stall_watch,
                self._hearing(Channel.BILLING_CHANGED) as for_audit,
            ):
                heartbeat_url = HeartbeatUrl(self._settings.heartbeat_url)
                charging = ChargingLoop(
                    pool,
                    self._settings,
                    self._biller,
                    heartbeat,
                    observer,
                    heartbeat_url,
                    for_charging,
                    self._run_again,
                )
                audit = DailyAudit(pool, observer, interval=self._settings.billing_interval)
                async with asyncio.TaskGroup() as group:
                    # Beats go on until the batch in hand is finished.
                    idle = asyncio.Event()
                    group.create_task(heartbeat.beat_until(idle))
                    group.create_task(heartbeat_url.call_until(halt))
                    group.create_task(self._hook.run(halt, for_hook))
                    group.create_task(self.stall_watch.watch(pool, observer, for_stall_watch, halt))
                    group.create_task(audit.audit_until(halt, for_audit))
                    await charging.charge_until(halt)
                    idle.set()
        finally:
            observer.ended()

    async def _deregister(self) -> None:
        if self._heartbeat is not None:
            await self._heartbeat.deregister_if_possible()

    @contextmanager
    def _hearing(self, *channels: Channel) -> Iterator[Subscription]:
        subscription = self._listener.subscribe(*channels)
        try:
            yield subscription
        finally:
            self._listener.unsubscribe(subscription)
