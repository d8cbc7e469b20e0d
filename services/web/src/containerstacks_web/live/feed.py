"""Keeps this process's snapshot of the platform true, and hands each new one to the hub.

A notification says when to look, never what is there: every reading asks the database for everything it
shows, under a version that only grows. When no notification comes, the feed looks every few seconds anyway,
so a lost one costs latency and never truth; and what it publishes then says "verified just now".
"""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.billing.status import DaemonReading, read_daemon
from containerstacks_shared.core.errors import DatabaseUnavailable, describe
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.database.notify import Channel, Hint, Listener, Subscription
from containerstacks_shared.fleet import counts
from containerstacks_shared.status import versions
from containerstacks_web.metrics import STATUS_READ_AT, STATUS_READINGS

from .messages import StatusMessage
from .snapshot import StatusSnapshot

CHANNELS: Final = (
    Channel.COUNT_DELTAS,
    Channel.COUNTS_CHANGED,
    Channel.BILLING_CHANGED,
    Channel.VPS_PLANS_CHANGED,
)
_COUNTING: Final = frozenset({Channel.COUNT_DELTAS, Channel.COUNTS_CHANGED, Channel.VPS_PLANS_CHANGED})
# Browsers call their page stale after 10 seconds without a message.
_LOOK_SECONDS = 4.0
_RETRY_SECONDS = 0.5
# An unchanged state is sent again when browsers have had none for so long: it says "still true".
_REASSURE_SECONDS = 3.0
# No more than 20 readings a second, and never more than half of the time spent on reading.
_READING_SPACING_SECONDS = 0.05
_PAUSE_SECONDS_MAX = 1.0
# Counts and deltas together are exact before the aggregator folds and after, so a writer's hint is read at once,
# and the fold that follows it says nothing new. It is read all the same, but in less of a hurry: it may be a repair, or
# the change of a writer that sent no hint, because another one was sending.
_ECHO_SECONDS = 0.25
# Billing says when something happens to it. When only counts change, what was read of it so short a time ago will do.
_BILLING_SECONDS = 1.0
_READ_SECONDS_MAX = 4.0
# How long a request waits for the very first reading.
_FIRST_SECONDS_MAX = 3.0

_log = structlog.get_logger(__name__)


class SnapshotFeed:
    """`publish` sends a message to every browser, `renew` keeps it for those yet to come."""

    def __init__(
        self,
        pool: db.Pool,
        *,
        billing_interval: timedelta,
        publish: Callable[[bytes], None],
        renew: Callable[[bytes], None],
    ) -> None:
        self._pool = pool
        self._billing_interval = billing_interval
        self._publish = publish
        self._renew = renew
        self._snapshot: StatusSnapshot | None = None
        self._tried = asyncio.Event()
        # By the loop's clock, from the beginning of `follow` on.
        self._tried_at = math.inf
        self._failure = f"the first reading takes longer than {_FIRST_SECONDS_MAX:g} s"
        self._healthy = False
        self._published_at = -math.inf
        self._deltas_heard_at = -math.inf
        self._billing: DaemonReading | None = None
        self._billing_read_at = -math.inf

    @property
    def snapshot(self) -> StatusSnapshot | None:
        """The last reading, however old; None before the first."""
        return self._snapshot

    @property
    def healthy(self) -> bool:
        """Whether the last reading succeeded."""
        return self._healthy

    @property
    def failing(self) -> bool:
        """Whether the last reading failed; before the first one has ended it does not."""
        return self._tried.is_set() and not self._healthy

    @property
    def standing_still(self) -> timedelta:
        """How long ago the last reading ended, well or badly: each has a limit in time, so this is never long."""
        return timedelta(seconds=max(0.0, asyncio.get_running_loop().time() - self._tried_at))

    def age_seconds(self) -> float | None:
        if self._snapshot is None:
            return None
        return asyncio.get_running_loop().time() - self._snapshot.taken

    async def current(self) -> StatusSnapshot:
        """Return the last reading, waiting for it only while the process has just started."""
        if self._snapshot is None:
            await wait_for_event(self._tried, _FIRST_SECONDS_MAX)
        if self._snapshot is None:
            raise DatabaseUnavailable(f"the status was never read: {self._failure}")
        return self._snapshot

    async def follow(self, listener: Listener) -> None:
        """Read and publish until cancelled."""
        subscription = listener.subscribe(*CHANNELS)
        clock = asyncio.get_running_loop().time
        self._tried_at = clock()
        while True:
            started = clock()
            await self._look()
            self._tried_at = clock()
            spent = self._tried_at - started
            await asyncio.sleep(min(max(_READING_SPACING_SECONDS - spent, spent), _PAUSE_SECONDS_MAX))
            await self._wait_for_occasion(subscription)

    async def _look(self) -> None:
        try:
            await self._read_and_show()
        except db.FAILURES as error:
            if self._healthy or not self._tried.is_set():
                _log.warning("feed.database_away", error=describe(error))
            self._healthy, self._failure = False, describe(error)
            STATUS_READINGS.labels("failed").inc()
        finally:
            self._tried.set()

    async def _read_and_show(self) -> None:
        async with lend(self._pool, within=_READ_SECONDS_MAX) as connection:
            async with connection.transaction():
                snapshot = await self._read(connection)
                if not self._healthy:
                    _log.info("feed.reading", version=snapshot.version)
                self._healthy = True
                # Before the transaction ends and the connection goes back: browsers are waiting.
                self._show(snapshot)
            STATUS_READINGS.labels("succeeded").inc()
            STATUS_READ_AT.set(snapshot.timestamp.timestamp())

    def _show(self, snapshot: StatusSnapshot) -> None:
        before, self._snapshot = self._snapshot, snapshot
        unchanged = before is not None and (before.vps, before.daemon) == (snapshot.vps, snapshot.daemon)
        now = asyncio.get_running_loop().time()
        if unchanged and now - self._published_at < _REASSURE_SECONDS:
            self._renew(snapshot.message)
            return
        self._published_at = now
        self._publish(snapshot.message)

    async def _read(self, connection: db.Connection) -> StatusSnapshot:
        version = await versions.next_version(connection)
        timestamp = datetime.now(UTC)
        taken = asyncio.get_running_loop().time()
        vps = await counts.read_vps_statistics(connection)
        billing = await self._read_billing(connection)
        message = StatusMessage(version=version, timestamp=timestamp, vps=vps, daemon=billing.status)
        return StatusSnapshot(
            version=version,
            timestamp=timestamp,
            vps=vps,
            billing=billing,
            taken=taken,
            message=message.model_dump_json().encode(),
        )

    async def _read_billing(self, connection: db.Connection) -> DaemonReading:
        now = asyncio.get_running_loop().time()
        if self._billing is None or now - self._billing_read_at > _BILLING_SECONDS:
            self._billing = await read_daemon(connection, interval=self._billing_interval)
            # As of before the reading, and only if there was one. What billing says meanwhile is heard after it.
            self._billing_read_at = now
        return self._billing

    async def _wait_for_occasion(self, subscription: Subscription) -> None:
        clock = asyncio.get_running_loop().time
        hints = await self._hear(subscription, _LOOK_SECONDS if self._healthy else _RETRY_SECONDS)
        while hints == {Channel.COUNTS_CHANGED}:
            remaining = self._deltas_heard_at + _ECHO_SECONDS - clock()
            if remaining <= 0:
                return
            hints = await self._hear(subscription, remaining) or hints

    async def _hear(self, subscription: Subscription, seconds: float) -> frozenset[Hint]:
        hints = await subscription.wait(seconds)
        if Channel.COUNT_DELTAS in hints:
            self._deltas_heard_at = asyncio.get_running_loop().time()
        if not hints <= _COUNTING:
            self._billing_read_at = -math.inf
        return hints


SNAPSHOT_FEED: Final = web.AppKey("snapshot_feed", SnapshotFeed)
