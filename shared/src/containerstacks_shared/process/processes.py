"""Who works on this database: leaders, sessions, and how far the aggregator lags."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import ADVISORY_LOCK_CLASS, Connection

_QUERIES = load(__name__)


@dataclass(frozen=True)
class Leader:
    """The last holder of a role, and whether it is held now. `holder` is None when nobody has ever held it."""

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
