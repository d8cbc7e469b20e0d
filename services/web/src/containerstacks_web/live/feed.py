"""Keeps this process's snapshot of the platform true, and hands each new one to the hub.

A notification says when to look, never what is there: every reading asks the database for everything it
shows, under a version that only grows. When no notification comes, the feed looks every few seconds anyway,
so a lost one costs latency and never truth; and what it publishes then says "verified just now".
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from containerstacks_shared import db
from containerstacks_shared.billing.status import read_daemon_status
from containerstacks_shared.errors import DatabaseUnavailable
from containerstacks_shared.models import StatusMessage
from containerstacks_shared.notify import Channel, Listener, Subscription
from containerstacks_shared.store import counts, versions
from containerstacks_web.live.snapshot import StatusSnapshot
from containerstacks_web.metrics import STATUS_READ_AT, STATUS_READINGS

CHANNELS: Final = (
    Channel.COUNT_DELTAS,
    Channel.COUNTS_CHANGED,
    Channel.BILLING_CHANGED,
    Channel.VPS_PLANS_CHANGED,
)
# Browsers call their page stale after 10 seconds without a message.
_LOOK_SECONDS = 4.0
_RETRY_SECONDS = 0.5
# No more than 20 readings a second, and never more than a fifth of the time spent on reading.
_PAUSE_SECONDS_MIN = 0.05
_PAUSE_PER_READING = 4.0
_PAUSE_SECONDS_MAX = 1.0
# The aggregator answers a writer's notification within milliseconds; without it we look by ourselves.
_FOLD_SECONDS_MAX = 1.0
_READ_SECONDS_MAX = 4.0
_CONNECTION_SECONDS_MAX = 2.0
# How long a request waits for the very first reading.
_FIRST_SECONDS_MAX = 3.0

_log = structlog.get_logger(__name__)


class SnapshotFeed:
    def __init__(
        self, pool: db.Pool, *, billing_interval: timedelta, publish: Callable[[bytes], None]
    ) -> None:
        self._pool = pool
        self._billing_interval = billing_interval
        self._publish = publish
        self._snapshot: StatusSnapshot | None = None
        self._tried = asyncio.Event()
        self._healthy = False
        self._aggregator_answers = True

    @property
    def snapshot(self) -> StatusSnapshot | None:
        """The last reading, however old; None before the first."""
        return self._snapshot

    @property
    def healthy(self) -> bool:
        """Whether the last reading succeeded."""
        return self._healthy

    def age_seconds(self) -> float | None:
        if self._snapshot is None:
            return None
        return asyncio.get_running_loop().time() - self._snapshot.taken

    async def current(self) -> StatusSnapshot:
        """Return the last reading, waiting for it only while the process has just started."""
        if self._snapshot is None:
            try:
                async with asyncio.timeout(_FIRST_SECONDS_MAX):
                    await self._tried.wait()
            except TimeoutError:
                pass
        if self._snapshot is None:
            raise DatabaseUnavailable("the status was never read, and the database is away")
        return self._snapshot

    async def follow(self, listener: Listener) -> None:
        """Read and publish until cancelled."""
        subscription = listener.subscribe(*CHANNELS)
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            await self._look()
            pause = _PAUSE_PER_READING * (clock() - started)
            await asyncio.sleep(min(max(_PAUSE_SECONDS_MIN, pause), _PAUSE_SECONDS_MAX))
            await self._wait_for_occasion(subscription)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS_MAX):
                snapshot = await self._read()
        except db.UNAVAILABLE as error:
            if self._healthy or not self._tried.is_set():
                _log.warning("feed.database_away", error=str(error) or type(error).__name__)
            self._healthy = False
            STATUS_READINGS.labels("failed").inc()
        else:
            if not self._healthy:
                _log.info("feed.reading", version=snapshot.version)
            self._healthy = True
            self._snapshot = snapshot
            STATUS_READINGS.labels("succeeded").inc()
            STATUS_READ_AT.set(snapshot.timestamp.timestamp())
            self._publish(snapshot.message)
        finally:
            self._tried.set()

    async def _read(self) -> StatusSnapshot:
        async with (
            self._pool.acquire(timeout=_CONNECTION_SECONDS_MAX) as connection,
            connection.transaction(),
        ):
            version = await versions.next_version(connection)
            timestamp = datetime.now(UTC)
            taken = asyncio.get_running_loop().time()
            vps = await counts.read_vps_statistics(connection)
            daemon = await read_daemon_status(connection, interval=self._billing_interval)
        message = StatusMessage(version=version, timestamp=timestamp, vps=vps, daemon=daemon)
        return StatusSnapshot(
            version=version,
            timestamp=timestamp,
            vps=vps,
            daemon=daemon,
            taken=taken,
            message=message.model_dump_json().encode(),
        )

    async def _wait_for_occasion(self, subscription: Subscription) -> None:
        hints = await subscription.wait(_LOOK_SECONDS if self._healthy else _RETRY_SECONDS)
        if Channel.COUNTS_CHANGED in hints:
            self._aggregator_answers = True
        elif hints == {Channel.COUNT_DELTAS} and self._aggregator_answers:
            # Reading before the fold would be as right, but then the fold's own hint makes a second reading.
            await self._wait_for_fold(subscription)

    async def _wait_for_fold(self, subscription: Subscription) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + _FOLD_SECONDS_MAX
        while (remaining := deadline - clock()) > 0:
            if await subscription.wait(remaining) - {Channel.COUNT_DELTAS}:
                return
        # No aggregator is at work: no more waiting for it until it is heard of again.
        self._aggregator_answers = False
