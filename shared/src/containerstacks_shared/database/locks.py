"""Who acts: one leader per role, by an advisory lock on a session of its own, fenced by a term.

The lock saves work; the term protects data. A lock can be lost without its holder noticing in time (the
process was stopped, the network went dark), so each acquisition raises the role's term in `leaderships`, and
every transaction that writes as leader first calls `assert_term`. Its share lock makes the successor's raise
wait for transactions in flight; any that comes later sees the newer term and fails.

The holder talks over its session every two seconds, and the server ends a session that was silent for five:
a stopped holder loses the lock. `lost` is set as soon as the holder can know. What the server does not end by
itself is a session whose client stopped in the middle of a statement, with all its row locks: leaders and
candidates have such sessions ended, whosever they are.
"""

import asyncio
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Final, Self

import asyncpg
import structlog

from containerstacks_shared.core.errors import DatabaseUnsuitable, LeadershipLost
from containerstacks_shared.core.queries import load
from containerstacks_shared.core.waiting import wait_for_event

from .db import (
    ADVISORY_LOCK_CLASS,
    FAILURES,
    HEARTBEAT_SECONDS,
    IDLE_SESSION_TIMEOUT,
    Connection,
    DedicatedConnection,
    close_quietly,
    dedicated_connection,
    heartbeat,
)

LOCK_CLASS: Final = ADVISORY_LOCK_CLASS

_QUERIES: Final = load(__name__)

# A predecessor's transaction ends by itself, or is ended by the server when it idles for five seconds.
_RAISE_ATTEMPTS: Final = 10
_RAISE_LOCK_TIMEOUT: Final = timedelta(seconds=1)

_log = structlog.get_logger(__name__)


class Role(StrEnum):
    BILLING_DAEMON = "billing_daemon"
    BILLING_RUN = "billing_run"
    BUILTIN_BILLING = "builtin_billing"
    STATS_AGGREGATOR = "stats_aggregator"
    MIGRATION = "migration"
    # Every web process that would take over billing holds this one, together with the others.
    BUILTIN_STANDBY = "builtin_standby"

    @property
    def number(self) -> int:
        """The second key of the role's advisory lock. Every release must agree on it."""
        return _NUMBERS[self]

    @property
    def has_term(self) -> bool:
        """Whether `leaderships` counts its terms: not for a shared role, nor before that table exists."""
        return self is not Role.MIGRATION and not self.is_shared

    @property
    def is_shared(self) -> bool:
        """Whether any number of processes may hold the role at once."""
        return self is Role.BUILTIN_STANDBY


_NUMBERS: Final = {
    Role.BILLING_DAEMON: 1,
    Role.BILLING_RUN: 2,
    Role.BUILTIN_BILLING: 3,
    Role.STATS_AGGREGATOR: 4,
    Role.MIGRATION: 5,
    Role.BUILTIN_STANDBY: 6,
}


@dataclass(frozen=True)
class Term:
    """One holder's time in a role. A greater number took over later."""

    role: Role
    number: int
    holder: str


def holder_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


async def assert_term(connection: Connection, term: Term) -> None:
    """Make sure, until the transaction ends, that nobody has taken the role over. Raises `LeadershipLost`."""
    now = await connection.fetchrow(_QUERIES["hold_term"], term.role)
    # Compare the holder too: after a failover that lost commits, a term number may be given out twice.
    if now is None or (now["term"], now["holder"]) != (term.number, term.holder):
        successor = f"{now['holder']} in term {now['term']}" if now else "nobody"
        raise LeadershipLost(f"{term.holder} led {term.role} in term {term.number}; now {successor} does.")


async def is_held(connection: Connection, role: Role) -> bool:
    held: bool = await connection.fetchval(_QUERIES["is_held"], LOCK_CLASS, role.number)
    return held


async def _end_stuck_sessions(connection: DedicatedConnection) -> None:
    async with asyncio.timeout(HEARTBEAT_SECONDS):
        ended = await connection.fetch(_QUERIES["end_stuck_sessions"])
    for session in ended:
        _log.warning("session.stuck_ended", session=session["application_name"], pid=session["pid"])


class Leadership:
    """One candidate for one role. It may lead, lose, and be a candidate again."""

    def __init__(self, dsn: str, role: Role, *, service: str, holder: str | None = None) -> None:
        self._dsn = dsn
        self._role = role
        self._service = service
        self._holder = holder or holder_name()
        self._connection: DedicatedConnection | None = None
        self._watch: asyncio.Task[None] | None = None
        self._term: Term | None = None
        # Set from the moment the session dies until the role is acquired again.
        self.lost = asyncio.Event()

    @property
    def term(self) -> Term | None:
        """The term that is held now, as far as this process can know."""
        return None if self.lost.is_set() else self._term

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.release()

    async def try_acquire(self) -> Term | None:
        """Take the role if it is free now. Raises one of `FAILURES` when the database is away or fails."""
        term = await self._try()
        if term is None:
            await self._disconnect()
        return term

    async def acquire(
        self,
        *,
        stop: asyncio.Event,
        timeout: float | None = None,  # noqa: ASYNC109 - running out is an answer here
        pause: float = 0.5,
    ) -> Term | None:
        """Try until the role is taken, `stop` is set or the time is over, through outages of the database."""
        give_up = None if timeout is None else time.monotonic() + timeout
        away = False
        while not stop.is_set():
            try:
                term = await self._try()
            except FAILURES as error:
                if not away:
                    _log.warning("leadership.database_away", role=self._role, error=str(error))
                away = True
                await self._disconnect()
            else:
                away = False
                if term is not None:
                    return term
            rest = pause if give_up is None else min(pause, give_up - time.monotonic())
            if rest <= 0:
                break
            await wait_for_event(stop, rest)
        await self._disconnect()
        return None

    async def release(self) -> None:
        """Give the role back, so that another can have it at once. Harmless when it is not held."""
        held = self._term is not None and not self.lost.is_set()
        try:
            await self._end_watch()
            if held and self._connection is not None:
                with suppress(*FAILURES):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        unlock = _QUERIES["unlock_shared"] if self._role.is_shared else _QUERIES["unlock"]
                        await self._connection.execute(unlock, LOCK_CLASS, self._role.number)
                _log.info("leadership.released", role=self._role)
        finally:
            # Also when the task is cancelled: the end of the session frees the lock.
            self._term = None
            await self._disconnect()

    # Taking ---------------------------------------------------------------------------------

    async def _try(self) -> Term | None:
        if self.term is not None:
            raise RuntimeError(f"{self._role} is held already")
        await self._end_watch()
        connection = await self._connect()
        try:
            try_lock = _QUERIES["try_lock_shared"] if self._role.is_shared else _QUERIES["try_lock"]
            # A candidate keeps its session from one try to the next, and notices the death of it here.
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                is_free = await connection.fetchval(try_lock, LOCK_CLASS, self._role.number)
            if not is_free:
                return None
            number = await self._raise_term(connection) if self._role.has_term else 0
        except BaseException:
            # Locked or not, the lock must not be held without a term.
            await self._disconnect()
            raise
        if number is None:
            await self._disconnect()
            return None
        self._term = Term(self._role, number, self._holder)
        self.lost.clear()
        self._watch = asyncio.create_task(self._watch_session(connection), name=f"watch {self._role}")
        self._watch.add_done_callback(partial(self._note_end_of_watch, connection))
        if connection.is_closed():
            self._lose(connection)
        _log.info("leadership.taken", role=self._role, term=number)
        return self._term

    async def _connect(self) -> DedicatedConnection:
        if self._connection is not None and self._connection.is_closed():
            self._connection = None
        if self._connection is None:
            self._connection = await dedicated_connection(
                self._dsn, service=self._service, idle_timeout=IDLE_SESSION_TIMEOUT
            )
            self._connection.add_termination_listener(self._lose)
        return self._connection

    async def _raise_term(self, connection: DedicatedConnection) -> int | None:
        """Wait for the predecessor's transactions in flight, within a limit. None when they outlast it."""
        for _ in range(_RAISE_ATTEMPTS):
            try:
                async with connection.transaction():
                    await connection.execute(
                        _QUERIES["limit_lock_wait"], f"{_RAISE_LOCK_TIMEOUT.total_seconds()}s"
                    )
                    number: int | None = await connection.fetchval(
                        _QUERIES["raise_term"], self._role, self._holder
                    )
            except asyncpg.LockNotAvailableError:
                await _end_stuck_sessions(connection)
                continue
            except asyncpg.UndefinedTableError as error:
                raise DatabaseUnsuitable(
                    "This database is not migrated: run `containerstacks migrate`."
                ) from error
            if number is None:
                raise DatabaseUnsuitable(f"The table leaderships has no row for the role {self._role}.")
            return number
        _log.warning("leadership.predecessor_still_writing", role=self._role)
        return None

    # Holding --------------------------------------------------------------------------------

    async def _watch_session(self, connection: DedicatedConnection) -> None:
        heard = time.monotonic()
        while not await wait_for_event(self.lost, HEARTBEAT_SECONDS):
            try:
                await heartbeat(connection)
                if self._role.has_term:
                    await _end_stuck_sessions(connection)
            except FAILURES:
                break
            # After a standstill the server has ended the session, even if we have not read that yet.
            if time.monotonic() - heard > IDLE_SESSION_TIMEOUT.total_seconds() + HEARTBEAT_SECONDS:
                break
            heard = time.monotonic()

    def _note_end_of_watch(self, connection: DedicatedConnection, watch: asyncio.Task[None]) -> None:
        """Lose the role however the watch ended, except when it was cancelled by `_end_watch`."""
        if not watch.cancelled():
            self._lose(connection)
            connection.terminate()

    def _lose(self, connection: Connection) -> None:
        if self._term is None or self.lost.is_set() or connection is not self._connection:
            return
        self.lost.set()
        _log.warning("leadership.lost", role=self._role, term=self._term.number)

    # Letting go -----------------------------------------------------------------------------

    async def _end_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        watch.cancel()
        await asyncio.wait([watch])
        if not watch.cancelled():
            watch.result()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            await close_quietly(connection)
