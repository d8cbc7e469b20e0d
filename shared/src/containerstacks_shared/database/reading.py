"""Reads that may be a little old: from a hot standby while it keeps up, else from the primary.

How far the standby has come is measured before each reading, against the primary, so that a reading knows how old it
is. One that is too far behind, or away, is not asked again for a few seconds, so that reads do not wait for it. While
the primary is away the standby still answers, as long as its data are recent enough.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import structlog

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.queries import load
from containerstacks_shared.core.settings import CommonSettings
from containerstacks_shared.database.bounded_pool import lend

from . import db

_RETRY_SECONDS: Final = 5.0
_POSITION_SECONDS_MAX: Final = 2.0
_NOTHING_BEHIND: Final = timedelta(0)

_QUERIES: Final = load(__name__)

_log = structlog.get_logger(__name__)

Value = TypeVar("Value")
Work = Callable[[db.Connection], Awaitable[Value]]


@dataclass(frozen=True)
class Reading(Generic[Value]):
    """Everything that was committed until `as_of` is in `value`."""

    value: Value
    as_of: datetime
    from_standby: bool = False


class Reader:
    """Reads in one snapshot, from the standby if its data are recent enough."""

    def __init__(self, primary: db.Pool, standby: db.Pool | None, *, behind_max: timedelta) -> None:
        self._primary = primary
        self._standby = standby
        self._behind_max = behind_max
        self._left_alone_until = 0.0
        self._in_use: bool | None = None

    async def read(self, work: Work[Value]) -> Reading[Value]:
        """Do `work`, which only reads and may be done twice. Raises one of `db.UNAVAILABLE`, or what `work` does."""
        if self._standby is not None and asyncio.get_running_loop().time() >= self._left_alone_until:
            reading = await self._read_from_standby(self._standby, work)
            if reading is not None:
                return reading
        now = datetime.now(UTC)
        async with _snapshot(self._primary) as connection:
            return Reading(await work(connection), as_of=now)

    async def _read_from_standby(self, standby: db.Pool, work: Work[Value]) -> Reading[Value] | None:
        now = datetime.now(UTC)
        try:
            behind = await self._behind(standby)
            if behind is not None and behind <= self._behind_max:
                async with _snapshot(standby) as connection:
                    value = await work(connection)
                self._note(in_use=True)
                return Reading(value, as_of=now - behind, from_standby=True)
            reason = "its position is unknown" if behind is None else f"it is {behind} behind"
        except db.FAILURES as error:
            # This includes queries cancelled by a replay conflict, and a schema from before a migration.
            reason = describe(error)
        self._left_alone_until = asyncio.get_running_loop().time() + _RETRY_SECONDS
        self._note(in_use=False, reason=reason)
        return None

    async def _behind(self, standby: db.Pool) -> timedelta | None:
        position, at = await self._primary_position()
        async with lend(standby, within=_POSITION_SECONDS_MAX) as connection:
            row = await connection.fetchrow(_QUERIES["standby_position"], position, at)
        assert row is not None
        if not row["is_standby"]:
            # It was promoted, or is the primary itself: which of two primaries is right is not ours to guess.
            raise ConnectionError("it is no standby")
        behind: timedelta | None = row["behind"]
        return behind

    async def _primary_position(self) -> tuple[str | None, datetime | None]:
        try:
            async with lend(self._primary, within=_POSITION_SECONDS_MAX) as connection:
                row = await connection.fetchrow(_QUERIES["primary_position"])
        except db.UNAVAILABLE:
            return None, None
        assert row is not None
        return row["position"], row["at"]

    def _note(self, *, in_use: bool, reason: str | None = None) -> None:
        if in_use and self._in_use is False:
            _log.info("standby.read_again")
        if not in_use and self._in_use is not False:
            _log.warning("standby.left_alone", reason=reason)
        self._in_use = in_use


@asynccontextmanager
async def open_reader(settings: CommonSettings, primary: db.Pool, *, service: str) -> AsyncIterator[Reader]:
    """Give a reader for `DATABASE_READ_URL`, or one that reads from the primary when that is unset."""
    behind_max = settings.database_read_behind_max
    if settings.database_read_url is None:
        yield Reader(primary, None, behind_max=behind_max)
        return
    standby = await db.create_standby_pool(settings.database_read_url.get_secret_value(), service=service)
    try:
        yield Reader(primary, standby, behind_max=behind_max)
    finally:
        await db.close_pool(standby)


@asynccontextmanager
async def _snapshot(pool: db.Pool) -> AsyncIterator[db.Connection]:
    async with (
        lend(pool) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield connection
