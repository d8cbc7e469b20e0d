"""Hours that are due and not billed: what tells whether billing gets anywhere, not only whether it is alive."""

from dataclasses import dataclass
from datetime import datetime

from containerstacks_shared import sql
from containerstacks_shared.db import Connection

QUERIES = sql.load("owed_hours")

_OWED_HOURS = QUERIES["owed_hours"]


@dataclass(frozen=True)
class OwedHours:
    """`since` is where the oldest unbilled hour starts; None when nothing is owed."""

    hours: int
    since: datetime | None


async def read_owed_hours(connection: Connection) -> OwedHours:
    (row,) = await connection.fetch(_OWED_HOURS)
    return OwedHours(hours=row["hours"], since=row["since"])
