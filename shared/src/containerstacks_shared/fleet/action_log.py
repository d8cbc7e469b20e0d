"""The audit log: what people did to billing, money, keys, incidents and sessions. Rows are added, and never changed."""

from collections.abc import Mapping
from typing import Any

from containerstacks_shared.core.documents import Document, Timestamp
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_QUERIES = load(__name__)


class LoggedAction(Document):
    """`through` is the application of the session: `containerstacks-web`, `containerstacks-cli`, or another."""

    id: int
    at: Timestamp
    actor: str
    through: str
    action: str
    subject: str | None
    reason: str | None
    details: dict[str, Any]


async def add(
    connection: Connection,
    action: str,
    *,
    actor: str | None,
    subject: str | None = None,
    reason: str | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Record an action, in the transaction that performs it."""
    await connection.execute(
        _QUERIES["add"], action, actor, subject, reason, None if details is None else dict(details)
    )


async def page(
    connection: Connection, *, limit: int, before: int | None = None, actor: str | None = None
) -> tuple[list[LoggedAction], bool]:
    """Read the newest rows, or those older than one, and whether there are more."""
    rows = await connection.fetch(_QUERIES["page"], before, actor, limit + 1)
    return [LoggedAction(**dict(row)) for row in rows[:limit]], len(rows) > limit
