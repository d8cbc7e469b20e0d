"""Hearing that something changed: one listening session per process, and subscriptions to it.

A notification is a hint; the receiver reads the rows. Hints can be lost while the session is away, so
every new session starts with a `Resync`: a lost hint costs time, but makes no figure wrong.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from containerstacks_shared.core.errors import DatabaseUnsuitable, describe
from containerstacks_shared.core.waiting import any_event, wait_for_event

from .db import (
    FAILURES,
    HEARTBEAT_SECONDS,
    Connection,
    DedicatedConnection,
    close_quietly,
    dedicated_connection,
    heartbeat,
)

_PAUSE_MIN_SECONDS: Final = 0.1
# Together with a connection attempt, reconnecting takes less than five seconds.
_PAUSE_MAX_SECONDS: Final = 1.0

# A pooler in between by mistake counts as an outage: it may be removed later.
_AWAY: Final[tuple[type[Exception], ...]] = (*FAILURES, DatabaseUnsuitable)

_log = structlog.get_logger(__name__)


class Channel(StrEnum):
    """Every channel. Payloads are empty, so that equal hints of a transaction fold into one."""

    COUNT_DELTAS = "count_deltas"
    COUNTS_CHANGED = "counts_changed"
    BILLING_CHANGED = "billing_changed"
    WALLET_TOPPED_UP = "wallet_topped_up"
    VPS_PLANS_CHANGED = "vps_plans_changed"
    INCIDENTS_CHANGED = "incidents_changed"
    COMPONENTS_CHANGED = "components_changed"


@dataclass(frozen=True)
class Resync:
    """A listener (re)connected: anything may have been missed."""


RESYNC: Final = Resync()

Hint = Channel | Resync


async def announce(connection: Connection, channel: Channel) -> None:
    """Notify the listeners of the channel when the caller's transaction commits."""
    await connection.execute("select pg_notify($1, '')", channel.value)


class Subscription:
    """Hints since the last read. Equal ones fold, so there is at most one of each."""

    def __init__(self, channels: frozenset[Channel], *, missed: bool) -> None:
        self._channels = channels
        self._heard: set[Hint] = {RESYNC} if missed else set()
        self._some = asyncio.Event()
        if missed:
            self._some.set()

    async def wait(self, timeout: float) -> frozenset[Hint]:  # noqa: ASYNC109 - running out is an answer here
        """Wait until something was heard, at most so many seconds; then the set is empty."""
        await wait_for_event(self._some, timeout)
        heard = frozenset(self._heard)
        self._heard.clear()
        self._some.clear()
        return heard

    def offer(self, hint: Hint) -> None:
        if isinstance(hint, Resync) or hint in self._channels:
            self._heard.add(hint)
            self._some.set()


class Listener:
    """Listens on one dedicated session, talks over it to notice its death, and reconnects for ever."""

    def __init__(self, dsn: str, channels: Iterable[Channel], *, service: str) -> None:
        self._dsn = dsn
        self._channels = frozenset(channels)
        self._service = service
        self._subscriptions: list[Subscription] = []
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether hints arrive now, as far as the last heartbeat knows."""
        return self._connected

    def subscribe(self, *channels: Channel) -> Subscription:
        """Hear these channels, or all of the listener's when none is named."""
        wanted = frozenset(channels) or self._channels
        if not wanted <= self._channels:
            raise ValueError(f"this listener does not hear {', '.join(sorted(wanted - self._channels))}")
        subscription = Subscription(wanted, missed=self._connected)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)

    async def run(self, stop: asyncio.Event) -> None:
        pause = _PAUSE_MIN_SECONDS
        while not stop.is_set():
            try:
                await self._listen(stop)
            except _AWAY as error:
                if self._connected or pause == _PAUSE_MIN_SECONDS:
                    _log.warning("listener.lost", error=describe(error))
                # A session that worked for a while earns a quick first try.
                pause = _PAUSE_MIN_SECONDS if self._connected else min(2 * pause, _PAUSE_MAX_SECONDS)
            finally:
                self._connected = False
            await wait_for_event(stop, pause)

    async def _listen(self, stop: asyncio.Event) -> None:
        connection = await dedicated_connection(self._dsn, service=self._service)
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                for channel in sorted(self._channels):
                    await connection.add_listener(channel, self._hear)
            self._connected = True
            _log.info("listener.connected", channels=" ".join(sorted(self._channels)))
            self._offer(RESYNC)
            await self._talk(connection, closed, stop)
        except FAILURES:
            # Closing in order would only delay the next session.
            connection.terminate()
            raise
        finally:
            await close_quietly(connection)

    async def _talk(
        self, connection: DedicatedConnection, closed: asyncio.Event, stop: asyncio.Event
    ) -> None:
        async with any_event(stop, closed) as over:
            while not await wait_for_event(over, HEARTBEAT_SECONDS):
                await heartbeat(connection)
        if not stop.is_set():
            raise ConnectionError("the server closed the listening session")

    def _hear(self, _connection: object, _pid: int, channel: str, _payload: object) -> None:
        self._offer(Channel(channel))

    def _offer(self, hint: Hint) -> None:
        for subscription in self._subscriptions:
            subscription.offer(hint)
