"""Hours that are due and not billed: they show whether billing makes progress, not only whether it is alive."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

QUERIES = load(__name__)


@dataclass(frozen=True)
class OwedHours:
    """`since` is where the oldest unbilled hour starts, None when nothing is owed; the unpaid ones are debts."""

    hours: int
    since: datetime | None
    hours_unpaid: int
    unpaid_since: datetime | None
    read_at: datetime


async def read_owed_hours(connection: Connection) -> OwedHours:
    (row,) = await connection.fetch(QUERIES["owed_hours"])
    return OwedHours(**dict(row))


async def stalled_since(connection: Connection, *, patience: timedelta) -> datetime | None:
    """Start of the oldest hour that has been unbilled for longer than `patience`, for no valid reason."""
    since: datetime | None = await connection.fetchval(QUERIES["stalled_since"], patience)
    return since


async def run_is_under_way(connection: Connection, *, patience: timedelta) -> bool:
    under_way: bool = await connection.fetchval(QUERIES["run_is_under_way"], patience)
    return under_way
