"""What the database did to keep the application's own biller out, and money from being lost in its wallet writes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import asyncpg
import structlog

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

log = structlog.get_logger(__name__)

_QUERIES = load(__name__)
# The application bills once an hour, so that two hours of silence mean that it has stopped.
_TRIES_EVERY: Final = timedelta(hours=2)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class GuardRecord:
    """All counts are since `installed_at`. The application's roundings, which are mended as well, are not counted."""

    is_on: bool
    installed_at: datetime
    read_at: datetime
    refused: int
    refused_at: datetime | None
    given_back: int
    given_back_at: datetime | None
    mended: int
    mended_at: datetime | None

    @property
    def refused_lately(self) -> bool:
        return _within(_TRIES_EVERY, self.refused_at, self.read_at)

    @property
    def intervened_lately(self) -> bool:
        return any(_within(_DAY, at, self.read_at) for at in (self.given_back_at, self.mended_at))


@dataclass(frozen=True)
class GuardAmounts:
    """In the wallets' currencies: money given back, and by how much wallets would have been wrong."""

    given_back: Decimal
    mended: Decimal


async def read_guard(connection: Connection) -> GuardRecord:
    row = await connection.fetchrow(_QUERIES["read"])
    assert row is not None
    return GuardRecord(**row)


async def read_amounts(connection: Connection) -> GuardAmounts:
    row = await connection.fetchrow(_QUERIES["amounts"])
    assert row is not None
    return GuardAmounts(**row)


async def give_back_lost_debits(connection: Connection) -> None:
    """Give back what the application debited and never recorded. A wallet in use waits for the next run."""
    try:
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '2s'")
            given = await connection.fetchval(_QUERIES["give_back_lost_debits"])
    except asyncpg.LockNotAvailableError:
        log.warning("guard.debits_left")
    else:
        if given:
            log.warning("guard.debits_given_back", debits=given)


def _within(duration: timedelta, moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment > now - duration
