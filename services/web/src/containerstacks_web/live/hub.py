"""Sends the newest status to every connected browser, and lets no browser delay another.

There is one newest message, serialised and framed once. A round hands it to each client whose connection has nothing
unsent; a client that still has unsent bytes falls behind, and gets the newest message once its connection has
drained. So a client never holds more than one unsent message here, and one that stays behind for too long is cut off.

An announcement (incidents) goes the same way, to the clients that asked for it, and only when its content has
changed.
"""

import asyncio
import math
from collections import Counter
from enum import StrEnum
from typing import Final, Protocol

import structlog
from aiohttp import web

from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_web.metrics import CLIENTS, CLIENTS_CUT_OFF

from .frames import text_frame

# At most 20 messages a second to any client.
_ROUND_SECONDS = 0.05
_BEHIND_SECONDS_MAX = 10.0
# Far above one message: only what piles up on a dead connection comes near.
_UNSENT_BYTES_MAX = 256 * 1024
# Writes until other tasks of the loop get a turn.
_WRITES_PER_TURN = 250
_CLOSE_SECONDS_MAX = 3.0
# Closing is spread out, so that the browsers do not all reconnect at the same moment.
_CLOSED_PER_SECOND = 1000
_CLOSE_SPREAD_SECONDS_MAX = 3.0
_CLOSE_STEP_SECONDS = 0.05

_log = structlog.get_logger(__name__)


class Client(Protocol):
    """One connected browser, as the hub needs it."""

    @property
    def address_key(self) -> str: ...
    @property
    def wants_announcements(self) -> bool: ...
    def unsent_bytes(self) -> int: ...
    def send_announcement(self, frame: bytes) -> None: ...
    def send(self, frame: bytes) -> None: ...
    async def close_for_restart(self) -> None: ...
    def abort(self) -> None: ...


class Refusal(StrEnum):
    FULL = "full"
    FULL_FOR_ADDRESS = "full_for_address"
    CLOSING = "closing"


class Hub:
    """A client whose send buffer stays full for `behind_seconds_max` is disconnected."""

    def __init__(self, *, clients_max: int, clients_per_address: int) -> None:
        self.behind_seconds_max = _BEHIND_SECONDS_MAX
        self._clients_max = clients_max
        self._clients_per_address = clients_per_address
        self._clients: set[Client] = set()
        self._per_address: Counter[str] = Counter()
        # Clients that a round did not serve, or that came after it, and since when (the loop's clock).
        self._behind: dict[Client, float] = {}
        self._newest: bytes | None = None
        self._has_news = False
        self._announcement: bytes | None = None
        # Subscribers that have not got the announcement.
        self._unannounced: set[Client] = set()
        self._wake = asyncio.Event()
        self._closing = False

    def __len__(self) -> int:
        return len(self._clients)

    def refusal(self, address_key: str) -> Refusal | None:
        """Return why another client of this address would be refused; None when it would not."""
        if self._closing:
            return Refusal.CLOSING
        if len(self._clients) >= self._clients_max:
            return Refusal.FULL
        if self._per_address[address_key] >= self._clients_per_address:
            return Refusal.FULL_FOR_ADDRESS
        return None

    def add(self, client: Client) -> None:
        """Add a client; the next round sends it the full state."""
        self._clients.add(client)
        self._per_address[client.address_key] += 1
        CLIENTS.set(len(self._clients))
        if self._newest is not None:
            self._behind[client] = asyncio.get_running_loop().time()
            self._wake.set()
        if self._announcement is not None and client.wants_announcements:
            self._unannounced.add(client)
            self._wake.set()

    def remove(self, client: Client) -> None:
        if client not in self._clients:
            return
        self._clients.remove(client)
        CLIENTS.set(len(self._clients))
        self._behind.pop(client, None)
        self._unannounced.discard(client)
        self._per_address[client.address_key] -= 1
        if self._per_address[client.address_key] == 0:
            del self._per_address[client.address_key]

    def renew(self, message: bytes) -> None:
        """Take a newer message that says nothing new: clients that have the one before need no other."""
        self._newest = text_frame(message)

    def publish(self, message: bytes) -> None:
        self._newest = text_frame(message)
        self._has_news = True
        self._wake.set()

    def announce(self, message: bytes, *, is_other: bool) -> None:
        """Send it to the clients that asked for announcements; one without news is only kept for new clients."""
        self._announcement = text_frame(message)
        if is_other:
            self._unannounced.update(client for client in self._clients if client.wants_announcements)
            self._wake.set()

    async def run_rounds(self) -> None:
        """Send until cancelled; a frame is handed over whole or not at all, so any moment will do.

        News starts a round at once, or as soon as the last one is old enough. Between rounds, clients that fell
        behind are served; the others do not wait for them.
        """
        clock = asyncio.get_running_loop().time
        while True:
            news = await self._wait_for_news()
            started = clock()
            await self._round()
            if news:
                await asyncio.sleep(max(0.0, started + _ROUND_SECONDS - clock()))

    async def _wait_for_news(self) -> bool:
        if self._behind or self._unannounced:
            news = await wait_for_event(self._wake, _ROUND_SECONDS)
        else:
            news = await self._wake.wait()
        self._wake.clear()
        return news

    async def close(self) -> None:
        """Close every connection with 1012: this process stops, and browsers reconnect."""
        self._closing = True
        clients = list(self._clients)
        spread = min(len(clients) / _CLOSED_PER_SECOND, _CLOSE_SPREAD_SECONDS_MAX)
        steps = math.ceil(spread / _CLOSE_STEP_SECONDS)
        closing: dict[asyncio.Task[None], Client] = {}
        for step in range(steps):
            if step:
                await asyncio.sleep(_CLOSE_STEP_SECONDS)
            closing |= {
                asyncio.create_task(client.close_for_restart()): client for client in clients[step::steps]
            }
        if not closing:
            return
        _, late = await asyncio.wait(closing, timeout=_CLOSE_SECONDS_MAX)
        for task in late:
            closing[task].abort()
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)

    async def _round(self) -> None:
        await self._announce_round()
        now = asyncio.get_running_loop().time()
        # News that arrives during a round reaches the remaining clients at once, and all of them in the next round.
        clients = list(self._clients if self._has_news else self._behind)
        self._has_news = False
        if self._newest is None:
            return
        for number, client in enumerate(clients, start=1):
            if client.unsent_bytes() == 0:
                # One that has left meanwhile takes a message, which goes nowhere.
                client.send(self._newest)
                if self._behind:
                    self._behind.pop(client, None)
            elif client in self._clients:
                self._leave_behind(client, now)
            if number % _WRITES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _announce_round(self) -> None:
        """Skip clients with a full send buffer; the rule for the status disconnects them."""
        for number, client in enumerate(list(self._unannounced), start=1):
            if client in self._unannounced and self._announcement is not None and client.unsent_bytes() == 0:
                self._unannounced.discard(client)
                client.send_announcement(self._announcement)
            if number % _WRITES_PER_TURN == 0:
                await asyncio.sleep(0)

    def _leave_behind(self, client: Client, now: float) -> None:
        unsent, since = client.unsent_bytes(), self._behind.setdefault(client, now)
        if now - since > self.behind_seconds_max or unsent > _UNSENT_BYTES_MAX:
            _log.info("hub.client_cut_off", unsent_bytes=unsent, behind_seconds=round(now - since, 1))
            del self._behind[client]
            CLIENTS_CUT_OFF.inc()
            client.abort()


HUB: Final = web.AppKey("hub", Hub)
