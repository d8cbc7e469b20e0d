"""The heartbeat, which shows the original application and our own processes that a biller of ours is active.

Our active biller renews the heartbeat in its own row of `billing_daemon_status`. The original pauses while
the greatest `heartbeat_at` is younger than 90 minutes, and resumes when there is none. So a biller that stops
leaves its last beat standing as long as another of ours is there to take over, and only the last one of all
takes the beats away.
"""

import asyncio
import os
import platform
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Final

import structlog

from containerstacks_shared.core.errors import LeadershipLost, describe
from containerstacks_shared.core.queries import load
from containerstacks_shared.core.version import application_version
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database.db import FAILURES, Connection, Pool
from containerstacks_shared.database.locks import Role, Term, is_held
from containerstacks_shared.database.notify import Channel, announce

from .documents import Biller

BEAT_INTERVAL: Final = timedelta(seconds=3)
STALE_AFTER: Final = timedelta(seconds=10)
ROLES: Final = {Biller.DAEMON: Role.BILLING_DAEMON, Biller.BUILTIN: Role.BUILTIN_BILLING}

_BEAT_SECONDS_MAX: Final = 2.0
# A stop must not wait for a database that is down.
_GOODBYE_SECONDS_MAX: Final = 5.0

_QUERIES = load(__name__)

_log = structlog.get_logger(__name__)


class Heartbeat:
    """The row of one biller that leads in `term`."""

    def __init__(self, pool: Pool, biller: Biller, term: Term, *, interval: timedelta) -> None:
        assert term.role is ROLES[biller]
        self._pool = pool
        self._biller = biller
        self._term = term
        self._interval = interval

    async def register(self) -> None:
        """Write the first beat, then clear the rows of dead processes: never a moment without any beat."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_QUERIES["lock_rows"])
            await connection.execute(_QUERIES["start"], self._term.holder, self._metadata())
            await connection.execute(
                _QUERIES["clear_dead"], self._term.holder, self._biller.value, STALE_AFTER
            )
            await announce(connection, Channel.BILLING_CHANGED)

    async def beat_until(self, halt: asyncio.Event) -> None:
        """Beat, also while a run is in progress. Raises `LeadershipLost` when somebody else took the role.

        A beat that fails is no reason to stop billing: the lock and its term decide who bills.
        """
        missed = False
        while not await wait_for_event(halt, BEAT_INTERVAL.total_seconds()):
            try:
                async with asyncio.timeout(_BEAT_SECONDS_MAX):
                    await self.beat()
            except FAILURES as error:
                if not missed:
                    _log.warning("heartbeat.missed", error=describe(error))
                missed = True
            else:
                missed = False

    async def beat(self) -> None:
        """Raises `LeadershipLost` when somebody else took the role since."""
        async with self._pool.acquire() as connection:
            beat = await connection.fetchval(
                _QUERIES["beat"], self._term.holder, self._term.role.value, self._term.number
            )
        if beat is None:
            raise LeadershipLost(f"{self._term.holder} is no longer the active {self._biller.value} biller")

    async def record_success(self, *, instances_billed: int, hours: int, amount: Decimal) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(
                _QUERIES["record_success"], self._term.holder, instances_billed, amount, hours
            )

    async def record_failure(self, message: str) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(_QUERIES["record_failure"], self._term.holder, message)

    async def deregister(self) -> None:
        """Call it after the role was released: of several billers that stop at once, exactly one is the last."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_QUERIES["lock_rows"])
            await connection.execute(_QUERIES["stop"], self._term.holder)
            await _hand_back_if_last(connection)
            await announce(connection, Channel.BILLING_CHANGED)

    async def deregister_if_possible(self) -> None:
        """Without an answer in time the row goes stale, and the next biller that starts clears it."""
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS_MAX):
                await self.deregister()
        except FAILURES as error:
            _log.warning("heartbeat.not_deregistered", error=describe(error))

    def _metadata(self) -> dict[str, object]:
        minutes = round(self._interval.total_seconds() / 60)
        return _metadata(self._biller.value) | {"billingIntervalMinutes": minutes}


@asynccontextmanager
async def single_run_heartbeat(pool: Pool) -> AsyncIterator[None]:
    """Keep the application's own biller out during a single run, and leave no heartbeat behind."""
    holder = f"{socket.gethostname()}-{os.getpid()}-once"
    async with pool.acquire() as connection:
        await connection.execute(_QUERIES["beat_once"], holder, _metadata("once"))
    beating = asyncio.create_task(_beat_once(pool, holder))
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])
        with suppress(*FAILURES):
            async with pool.acquire() as connection:
                await connection.execute(_QUERIES["leave_once"], holder)


async def _beat_once(pool: Pool, holder: str) -> None:
    while True:
        await asyncio.sleep(BEAT_INTERVAL.total_seconds())
        # A missed beat must not stop the run: the guard gives back what it let through.
        with suppress(*FAILURES):
            async with pool.acquire() as connection:
                await connection.execute(_QUERIES["beat_once"], holder, _metadata("once"))


def _metadata(biller: str) -> dict[str, object]:
    return {
        "biller": biller,
        "os": platform.system().lower(),
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "pythonVersion": platform.python_version(),
        "version": application_version(),
    }


async def hand_back_if_last(pool: Pool) -> None:
    """Let the original application bill again when none of ours is left.

    For a process that stops, after it has let go of its roles, `BUILTIN_STANDBY` included.
    """
    try:
        async with (
            asyncio.timeout(_GOODBYE_SECONDS_MAX),
            pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute(_QUERIES["lock_rows"])
            await _hand_back_if_last(connection)
    except FAILURES as error:
        _log.warning("heartbeat.not_handed_back", error=describe(error))


async def _hand_back_if_last(connection: Connection) -> None:
    for role in (*ROLES.values(), Role.BUILTIN_STANDBY):
        if await is_held(connection, role):
            return
    await connection.execute(_QUERIES["hand_back"])
