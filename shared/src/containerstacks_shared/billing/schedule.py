"""When the next billing run is due."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

QUERIES = load(__name__)


@dataclass(frozen=True)
class NextRun:
    """`due_in` is by the database's clock, and negative when the moment is past."""

    at: datetime
    due_in: timedelta


async def read_next_run(connection: Connection, *, interval: timedelta) -> NextRun | None:
    """Return None before the first run."""
    row = await connection.fetchrow(QUERIES["next_run"], interval)
    return None if row is None else NextRun(at=row["next_run_at"], due_in=row["due_in"])
