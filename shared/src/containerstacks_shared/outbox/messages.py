"""The rows of the outbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_QUERIES = load(__name__)


class Topic(StrEnum):
    ALERT = "alert"
    DEBT = "debt"


@dataclass(frozen=True)
class Draft:
    """A message to store. Those of one `batch` and event may be delivered by one call."""

    subject_id: int
    receiver: str
    payload: dict[str, Any]
    batch: str | None = None


@dataclass(frozen=True)
class Message:
    """A message that was claimed until `claimed_until`; `attempts` counts this one too."""

    id: int
    subject_id: int
    event: str
    receiver: str
    payload: dict[str, Any]
    attempts: int
    claimed_until: datetime


async def put(
    connection: Connection, topic: Topic, event: str, drafts: Sequence[Draft], *, awaits_end: bool = False
) -> None:
    """Store messages, unless they are stored already. The caller owns the transaction."""
    await connection.execute(
        _QUERIES["put"],
        topic,
        [draft.subject_id for draft in drafts],
        event,
        [draft.receiver for draft in drafts],
        [draft.payload for draft in drafts],
        [draft.batch for draft in drafts],
        awaits_end,
    )


async def claim(
    connection: Connection, topic: Topic, *, receiver: str, limit: int, duration: timedelta
) -> list[Message]:
    """Messages for one call."""
    rows = await connection.fetch(_QUERIES["claim"], topic, receiver, limit, duration)
    return sorted((Message(**dict(row)) for row in rows), key=lambda message: message.id)


async def end(
    connection: Connection, messages: Sequence[Message], *, outcome: str, error: str | None = None
) -> None:
    await connection.execute(_QUERIES["end"], [message.id for message in messages], outcome, error)


async def try_later(
    connection: Connection, messages: Sequence[Message], *, pause: timedelta, error: str
) -> None:
    claimed_until = messages[0].claimed_until
    await connection.execute(
        _QUERIES["try_later"], [message.id for message in messages], pause, claimed_until, error
    )
