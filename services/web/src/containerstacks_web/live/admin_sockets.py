"""The sockets that administrators opened: they get the details, for as long as the credential is good.

What is sent to everybody is the hub's. Here one message with the details is made for all administrators who
asked for it. A socket whose session, key or token ends, or whose user is no longer an administrator, is closed with
`ENDED`. Nothing is sent to a socket whose credential was not checked in the same round.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.billing.documents import DaemonDetails
from containerstacks_shared.billing.progress import Progress
from containerstacks_shared.billing.status import read_daemon_details
from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import counts
from containerstacks_shared.fleet.vps import VpsDetails
from containerstacks_shared.status import versions

from .messages import DetailsMessage
from .owed_figures import OwedFigures

# Close code of a socket whose credential ended; 4000 to 4999 are the application's own.
ENDED: Final = 4401

_LOOK_SECONDS: Final = 2.0
_READ_SECONDS_MAX: Final = 4.0

_log = structlog.get_logger(__name__)


@dataclass(eq=False)
class AdminSocket:
    """`request` opened it; `send` may drop a message that the browser is too slow for."""

    request: web.Request
    send: Callable[[bytes], None]
    end: Callable[[], Awaitable[None]]
    wants_details: bool


@dataclass(frozen=True)
class AdminDetails:
    """What administrators see of the fleet and of billing, by socket and on each page."""

    vps: VpsDetails
    daemon: DaemonDetails
    progress: Progress


class AdminSockets:
    """`still_sees_details` looks up again who sent a request."""

    def __init__(
        self,
        pool: db.Pool,
        *,
        still_sees_details: Callable[[web.Request], Awaitable[bool]],
        billing_interval: timedelta,
    ) -> None:
        self._pool = pool
        self._still_sees_details = still_sees_details
        self._billing_interval = billing_interval
        self._sockets: set[AdminSocket] = set()
        self.owed = OwedFigures(billing_interval=billing_interval)
        self._opened = asyncio.Event()

    def add(self, socket: AdminSocket) -> None:
        self._sockets.add(socket)
        self._opened.set()

    def remove(self, socket: AdminSocket) -> None:
        self._sockets.discard(socket)

    async def run_rounds(self) -> None:
        """Look, send and wait until cancelled."""
        while True:
            if not self._sockets:
                await self._opened.wait()
            self._opened.clear()
            try:
                await self._round()
            except db.FAILURES as error:
                # Without the database there is nothing new to send, so no credential needs to be checked again.
                _log.warning("admin_sockets.database_away", error=describe(error))
            await wait_for_event(self._opened, _LOOK_SECONDS)

    async def _round(self) -> None:
        message: bytes | None = None
        if any(socket.wants_details for socket in self._sockets):
            message = await self._read()
        ended: list[AdminSocket] = []
        for socket in list(self._sockets):
            if socket not in self._sockets:
                continue
            if not await self._still_sees_details(socket.request):
                ended.append(socket)
            elif message is not None and socket.wants_details:
                socket.send(message)
        for socket in ended:
            self.remove(socket)
            _log.info("admin_sockets.ended")
        # Last and together, because a browser that is gone keeps its close waiting for two seconds.
        await asyncio.gather(*(socket.end() for socket in ended))

    async def _read(self) -> bytes:
        async with (
            lend(self._pool, within=_READ_SECONDS_MAX) as connection,
            connection.transaction(),
        ):
            version = await versions.next_version(connection)
            timestamp = datetime.now(UTC)
            read = await self.read_details(connection)
        details = DetailsMessage(version=version, timestamp=timestamp, vps=read.vps, daemon=read.daemon)
        return details.model_dump_json().encode()

    async def read_details(self, connection: db.Connection) -> AdminDetails:
        vps = await counts.read_vps_details(connection)
        progress = await self.owed.read(connection)
        daemon = await read_daemon_details(connection, interval=self._billing_interval, owed=progress.owed)
        return AdminDetails(vps, daemon, progress)


ADMIN_SOCKETS: Final = web.AppKey("admin_sockets", AdminSockets)
