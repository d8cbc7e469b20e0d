"""Who works on this database: leaders, sessions, and how far the aggregator lags."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import ADVISORY_LOCK_CLASS, Connection

_QUERIES = load(__name__)

# No batch of an ordinary size may take as long.
STUCK_AFTER = timedelta(minutes=5)


@dataclass(frozen=True)
class Leader:
    """The last holder of a role, and whether it is held now. `holder` is None when it was never held."""

    role: str
    term: int
    holder: str | None
    taken_at: datetime | None
    is_held: bool


@dataclass(frozen=True)
class Sessions:
    name: str
    sessions: int


@dataclass(frozen=True)
class Lag:
    """Roughly how many deltas are not folded yet, and the age of the oldest."""

    deltas: int
    since: datetime | None


@dataclass(frozen=True)
class StuckSession:
    """One that has held a leader's fence for longer than `STUCK_AFTER`; no successor can act until it ends."""

    pid: int
    application_name: str
    since: datetime

    @property
    def summary(self) -> str:
        return (
            f"session {self.pid} of the database ({self.application_name}) has been in one transaction since"
            f" {self.since:%Y-%m-%d %H:%M} UTC, and nobody can act in its place"
        )

    @property
    def remedy(self) -> str:
        return (
            f'`containerstacks psql -c "select pg_terminate_backend({self.pid})"` ends it. If it stays, its process'
            f" stands still: `kill -CONT {self.pid}` on the database's machine."
        )


async def read_stuck_session(connection: Connection) -> StuckSession | None:
    row = await connection.fetchrow(_QUERIES["stuck_session"], STUCK_AFTER)
    return None if row is None else StuckSession(**dict(row))


async def read_leaders(connection: Connection, numbers: Mapping[str, int]) -> list[Leader]:
    rows = await connection.fetch(
        _QUERIES["leaders"], ADVISORY_LOCK_CLASS, list(numbers), list(numbers.values())
    )
    return [Leader(**dict(row)) for row in rows]


async def read_sessions(connection: Connection) -> list[Sessions]:
    return [Sessions(**dict(row)) for row in await connection.fetch(_QUERIES["sessions"])]


async def read_lag(connection: Connection) -> Lag:
    (row,) = await connection.fetch(_QUERIES["lag"])
    return Lag(**dict(row))
