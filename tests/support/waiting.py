"""Waiting for what a test expects: the only place in the tests that lets time pass."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, overload

import asyncpg
import pytest

from containerstacks_shared.database.db import Connection

Seen = TypeVar("Seen")

PAUSE_SECONDS = 0.02
# When a test gives up: no promise, and longer than anything takes that works, however busy the machine is.
# What the documents promise in seconds is in `support/promises.py`, and is tested strictly.
LIMIT_SECONDS = 60.0


@overload
async def eventually(
    predicate: Callable[[], Awaitable[Seen | None]], within: float = ..., *, pause: float = ...
) -> Seen: ...
@overload
async def eventually(
    predicate: Callable[[], Seen | None], within: float = ..., *, pause: float = ...
) -> Seen: ...
async def eventually(
    predicate: Callable[[], object], within: float = LIMIT_SECONDS, *, pause: float = PAUSE_SECONDS
) -> object:
    """Ask until the answer is truthy, and return it; fail with the last answer when time is up.

    An `AssertionError` of the predicate counts as "not yet", so a predicate may simply assert.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        answer: object
        try:
            result = predicate()
            answer = await result if inspect.isawaitable(result) else result
            if answer:
                return answer
        except AssertionError as error:
            answer = error
        if loop.time() > deadline:
            message = f"did not come true within {within} s; the last answer was {answer!r}"
            raise AssertionError(message)
        await asyncio.sleep(pause)


async def becomes(
    ask: Callable[[], Awaitable[object]],
    expected: object,
    within: float = LIMIT_SECONDS,
    *,
    pause: float = PAUSE_SECONDS,
) -> None:
    """Ask until the answer equals `expected`; fail with the last answer when time is up."""

    async def equal() -> bool:
        assert await ask() == expected
        return True

    await eventually(equal, within, pause=pause)


async def time_passes(seconds: float) -> None:
    """Let an outage last, or a client be idle: for what is about time itself, there is no event to wait for."""
    await asyncio.sleep(seconds)


@dataclass
class Looks:
    """How often a function was called. What does not happen is proved by looks that came to nothing, not by seconds."""

    count: int = 0

    def beyond(self, count: int) -> bool:
        return self.count > count

    async def more(self, number: int) -> None:
        """Wait for so many that begin and end from now on."""
        # One more may have begun before.
        enough = self.count + number
        await eventually(lambda: self.beyond(enough))


def looks_by(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Looks:
    """Count the calls of an asynchronous function of a module, from now on, when they end."""
    look: Callable[..., Awaitable[object]] = getattr(owner, name)
    looks = Looks()

    async def counted(*arguments: object, **options: object) -> object:
        try:
            return await look(*arguments, **options)
        finally:
            looks.count += 1

    monkeypatch.setattr(owner, name, counted)
    return looks


@contextlib.asynccontextmanager
async def time_limit(complaint: str, within: float = LIMIT_SECONDS) -> AsyncIterator[None]:
    """Fail the test, saying what was missing, when the block takes longer."""
    try:
        async with asyncio.timeout(within):
            yield
    except TimeoutError:
        message = f"{complaint} within {within} s"
        raise AssertionError(message) from None


class Notifications:
    """What arrived on a channel since listening began, in order."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[str] = asyncio.Queue()

    def _receive(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._arrived.put_nowait(str(payload))

    async def next(self, within: float = LIMIT_SECONDS) -> str:
        async with time_limit("no notification", within):
            return await self._arrived.get()

    def take_all(self) -> list[str]:
        """Return what is here already, without waiting."""
        return [self._arrived.get_nowait() for _ in range(self._arrived.qsize())]


@contextlib.asynccontextmanager
async def listening(dsn: str, channel: str) -> AsyncIterator[Notifications]:
    """Listen on a PostgreSQL channel, on a connection of its own."""
    connection = await asyncpg.connect(dsn)
    notifications = Notifications()
    try:
        await connection.add_listener(channel, notifications._receive)
        yield notifications
    finally:
        await connection.close()


async def session_waiting_for(connection: Connection, blocker_pid: int, within: float = LIMIT_SECONDS) -> int:
    """Wait until some session waits for a lock that `blocker_pid` holds; return the waiting backend's pid."""

    async def blocked() -> int | None:
        pid: int | None = await connection.fetchval(
            "select pid from pg_stat_activity where $1 = any(pg_blocking_pids(pid)) order by pid limit 1",
            blocker_pid,
        )
        return pid

    return await eventually(blocked, within)


async def sessions_waiting(connection: Connection, count: int) -> None:
    """Wait until `count` sessions of this database wait for locks, of each other or of any session."""

    async def blocked() -> bool:
        waiting: int = await connection.fetchval(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
        return waiting >= count

    await eventually(blocked)
