"""The built-in hourly billing: it steps in when no billing daemon is alive, and steps back when one is.

Every web process stands by, and says so with a shared lock: a daemon that stops then knows that somebody
takes over, and leaves its last heartbeat standing. Of the processes that stand by, the one that gets the role
bills: what it does then is `BillingTerm`'s.
"""

import asyncio
from datetime import timedelta
from typing import Final

from aiohttp import web

from containerstacks_shared.billing.documents import Biller
from containerstacks_shared.billing.heartbeat import hand_back_if_last
from containerstacks_shared.billing.status import is_daemon_alive
from containerstacks_shared.billing.term import BillingTerm
from containerstacks_shared.billing.term_observer import TermObserver
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database.db import FAILURES, Pool
from containerstacks_shared.database.leading import lead_until_stopped
from containerstacks_shared.database.locks import Leadership, Role, Term
from containerstacks_shared.database.notify import Listener

from .metrics import BUILTIN_BILLING_ACTIVE
from .settings import WebSettings

_SERVICE: Final = "web"
_GRACE: Final = timedelta(seconds=5)
# A daemon that lost its connection for a moment gets its role back before a web process takes over.
_GONE_SECONDS: Final = 2.0
_DATABASE_SECONDS_MAX: Final = 3.0


class BuiltinBilling:
    """`grace` is how long a daemon that starts together with this process has to come up first."""

    def __init__(self, pool: Pool, settings: WebSettings, listener: Listener) -> None:
        self.grace = _GRACE
        self._pool = pool
        self._standby = Leadership(settings.listen_dsn, Role.BUILTIN_STANDBY, service=_SERVICE)
        self._term = BillingTerm(
            pool,
            settings,
            listener,
            Biller.BUILTIN,
            service=_SERVICE,
            observer=_Observer(),
            wanted=self._is_wanted,
        )
        self._wanted = False
        self._gone_since: float | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by, and bill when it is wanted, until `stop`; then let everybody know that we are gone."""
        finished = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(lead_until_stopped(self._standby, _hold, stop=finished))
            try:
                await wait_for_event(stop, self.grace.total_seconds())
                await self._term.serve(stop)
            finally:
                finished.set()
        await hand_back_if_last(self._pool)

    async def _is_wanted(self) -> bool:
        """Whether no daemon is alive, and has not been for a moment. An outage changes nothing: it says nothing."""
        now = asyncio.get_running_loop().time()
        match await self._is_daemon_alive():
            case True:
                self._wanted, self._gone_since = False, None
            case False:
                self._gone_since = self._gone_since or now
                self._wanted = self._wanted or now - self._gone_since >= _GONE_SECONDS
            case None:
                self._gone_since = None
        return self._wanted

    async def _is_daemon_alive(self) -> bool | None:
        """Return None when the database does not say."""
        try:
            async with asyncio.timeout(_DATABASE_SECONDS_MAX), self._pool.acquire() as connection:
                return await is_daemon_alive(connection)
        except FAILURES:
            return None


BUILTIN_BILLING: Final = web.AppKey("builtin_billing", BuiltinBilling)


class _Observer(TermObserver):
    async def began(self) -> None:
        BUILTIN_BILLING_ACTIVE.set(1)

    def ended(self) -> None:
        BUILTIN_BILLING_ACTIVE.set(0)


async def _hold(_term: Term, over: asyncio.Event) -> None:
    await over.wait()
