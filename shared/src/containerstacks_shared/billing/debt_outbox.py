"""The outbox of the debt hook: what is to be told, to whom, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

QUERIES = load(__name__)

_OVERDUE_DEBTS = QUERIES["overdue_debts"]
_SETTLED_DEBTS = QUERIES["settled_debts"]
_NOTE = QUERIES["note"]
_CLOSE = QUERIES["close"]
_WITHDRAW = QUERIES["withdraw"]
_CLAIM = QUERIES["claim"]
_END = QUERIES["end"]
_TRY_LATER = QUERIES["try_later"]


@dataclass(frozen=True)
class Debt:
    """A debt of which one receiver is to be told. `since` is where its first unpaid hour starts."""

    vps_debt_id: int
    vps_instance_id: UUID
    organization_id: UUID
    opened_at: datetime
    since: datetime
    receiver: str
    settled_by: str | None = None


@dataclass(frozen=True)
class Notice:
    """A notice that was claimed; `attempts` counts this one too."""

    id: int
    receiver: str
    payload: dict[str, Any]
    attempts: int


async def find_overdue(
    connection: Connection, *, grace: timedelta, receivers: Sequence[str], limit: int
) -> list[Debt]:
    return [
        Debt(**dict(row)) for row in await connection.fetch(_OVERDUE_DEBTS, grace, list(receivers), limit)
    ]


async def find_settled(connection: Connection, *, limit: int) -> list[Debt]:
    return [Debt(**dict(row)) for row in await connection.fetch(_SETTLED_DEBTS, limit)]


async def note(connection: Connection, debt: Debt, *, event: str, payload: dict[str, Any]) -> None:
    await connection.execute(_NOTE, debt.vps_debt_id, event, debt.receiver, payload)


async def close(connection: Connection, debt: Debt) -> None:
    """Nothing more is to be told of it."""
    await connection.execute(_CLOSE, debt.vps_debt_id, debt.receiver)


async def withdraw(connection: Connection) -> None:
    await connection.execute(_WITHDRAW)


async def claim(
    connection: Connection, *, receivers: Sequence[str], limit: int, duration: timedelta
) -> list[Notice]:
    return [Notice(**dict(row)) for row in await connection.fetch(_CLAIM, limit, duration, list(receivers))]


async def end(connection: Connection, notice_id: int, *, outcome: str, error: str | None = None) -> None:
    await connection.execute(_END, notice_id, outcome, error)


async def try_later(connection: Connection, notice: Notice, *, pause: timedelta, error: str) -> None:
    await connection.execute(_TRY_LATER, notice.id, pause, notice.attempts, error)
