"""Being the active billing daemon: beat, charge, and say goodbye when it ends."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from containerstacks_shared.billing.debt_hook import DebtHook
from containerstacks_shared.billing.documents import Biller
from containerstacks_shared.billing.presence import Presence, hand_back_if_last
from containerstacks_shared.database.db import FAILURES, Pool
from containerstacks_shared.database.leading import lead_until_stopped
from containerstacks_shared.database.locks import Leadership, Role, Term
from containerstacks_shared.database.notify import Channel, Listener, Subscription

from . import metrics
from .auditing import Auditing
from .charging import CHANNELS, Charging
from .heartbeat import beat_until
from .progress_watch import ProgressWatch
from .reporting import Reporter
from .settings import BillingDaemonSettings
from .status_file import FileStatus

SERVICE: Final = "billing-daemon"

_GOODBYE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Tenure:
    """A candidate for being the one daemon that bills; while another one does, it stands by."""

    def __init__(
        self,
        pool: Pool,
        settings: BillingDaemonSettings,
        listener: Listener,
        reporter: Reporter,
        progress: ProgressWatch,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._listener = listener
        self._reporter = reporter
        self._progress = progress
        self._presence: Presence | None = None

    async def serve(self, stop: asyncio.Event) -> None:
        leadership = Leadership(self._settings.listen_dsn, Role.BILLING_DAEMON, service=SERVICE)
        await lead_until_stopped(leadership, self._bill, stop=stop)
        await self._say_goodbye()

    async def _bill(self, term: Term, halt: asyncio.Event) -> None:
        self._presence = Presence(self._pool, Biller.DAEMON, term, interval=self._settings.billing_interval)
        await self._presence.start()
        metrics.LEADER.set(1)
        try:
            with (
                self._hearing(*CHANNELS) as for_charging,
                self._hearing(Channel.BILLING_CHANGED) as for_hook,
                self._hearing(Channel.BILLING_CHANGED) as for_progress,
                self._hearing(Channel.BILLING_CHANGED) as for_audit,
            ):
                charging = Charging(self._pool, self._settings, self._presence, self._reporter, for_charging)
                hook = DebtHook(self._pool, self._settings, for_hook)
                auditing = Auditing(self._pool, interval=self._settings.billing_interval)
                async with asyncio.TaskGroup() as group:
                    # The heart beats on until the batch in hand is finished.
                    idle = asyncio.Event()
                    group.create_task(beat_until(idle, self._presence))
                    group.create_task(hook.run(halt))
                    group.create_task(self._progress.watch(self._pool, for_progress, halt))
                    group.create_task(auditing.audit_until(halt, for_audit))
                    await charging.charge_until(halt)
                    idle.set()
        finally:
            metrics.LEADER.set(0)

    @contextmanager
    def _hearing(self, *channels: Channel) -> Iterator[Subscription]:
        subscription = self._listener.subscribe(*channels)
        try:
            yield subscription
        finally:
            self._listener.unsubscribe(subscription)

    async def _say_goodbye(self) -> None:
        """After the role was released: of several that stop at once, one then sees that it is the last."""
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                if self._presence is None:
                    await hand_back_if_last(self._pool)
                else:
                    await self._presence.stop()
        except FAILURES as error:
            _log.warning("tenure.goodbye_unheard", error=str(error) or type(error).__name__)
        if self._presence is not None:
            await self._reporter.report(FileStatus.STOPPED, next_run=None)
