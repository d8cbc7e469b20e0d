"""Alerts: what is noticed, and the outbox of what is to be told of it, to whom."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_QUERIES = load(__name__)


@dataclass(frozen=True)
class Condition:
    """Something that is so now, and becomes an alert when it has been so for `delay`."""

    kind: str
    summary: str
    subject: str = ""
    since: datetime | None = None
    delay: timedelta = timedelta(0)


@dataclass(frozen=True)
class Change:
    """An alert that was opened or resolved just now."""

    id: int
    kind: str
    subject: str
    summary: str


@dataclass(frozen=True)
class Message:
    """A message that was claimed until `claimed_until`; `attempts` counts this one too."""

    id: int
    alert_id: int
    event: str
    attempts: int
    claimed_until: datetime
    kind: str
    summary: str
    opened_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True)
class AlertRecord:
    """An alert, and how many messages of it came to what. `attempts` and `last_error` tell of what still waits."""

    id: int
    kind: str
    subject: str
    summary: str
    noticed_at: datetime
    opened_at: datetime | None
    resolved_at: datetime | None
    delivered: int
    given_up: int
    waiting: int
    attempts: int | None
    last_error: str | None


# Looking ----------------------------------------------------------------------------------------


async def claim_look(connection: Connection, name: str, *, every: timedelta) -> int | None:
    """Up to where the last look saw; None when another process looks, or did a moment ago.

    The claim is a lock to the end of the transaction, which the caller owns.
    """
    seen: int | None = await connection.fetchval(_QUERIES["claim_look"], name, every)
    return seen


async def end_look(connection: Connection, name: str, *, seen: int) -> None:
    await connection.execute(_QUERIES["end_look"], name, seen)


@dataclass(frozen=True)
class LastRun:
    id: int
    biller: str
    status: str
    error_message: str | None


@dataclass(frozen=True)
class LastAudit:
    id: int
    finished_at: datetime
    findings_own: int


async def read_last_run(connection: Connection) -> LastRun | None:
    row = await connection.fetchrow(_QUERIES["last_run"])
    return None if row is None else LastRun(**dict(row))


async def read_last_audit(connection: Connection) -> LastAudit | None:
    """Without what it found: rows about money are not for every process that looks."""
    row = await connection.fetchrow(_QUERIES["last_audit"])
    return None if row is None else LastAudit(**dict(row))


async def read_deltas(connection: Connection, *, seen: int) -> tuple[bool, int]:
    """Whether one of those up to `seen` still waits to be folded; and the newest one now."""
    row = await connection.fetchrow(_QUERIES["deltas"], seen)
    assert row is not None
    return row["some_waited"], row["newest"]


# Noting -----------------------------------------------------------------------------------------


async def note(
    connection: Connection, found: Sequence[Condition], *, of: Collection[str], receivers: Sequence[str]
) -> tuple[list[Change], list[Change]]:
    """Open and resolve the alerts of those kinds by what was found of them, and put down who is to be told.

    Returns what was opened and what was resolved. The caller owns the transaction.
    """
    kinds, looked_for = [condition.kind for condition in found], sorted(of)
    subjects = [condition.subject for condition in found]
    summaries = [condition.summary for condition in found]
    since = [condition.since for condition in found]
    delays = [condition.delay for condition in found]
    await connection.execute(_QUERIES["notice"], kinds, subjects, summaries, since)
    await connection.execute(_QUERIES["drop_unopened"], looked_for, kinds, subjects)
    opened = _changes(await connection.fetch(_QUERIES["open"], kinds, subjects, summaries, delays))
    resolved = _changes(await connection.fetch(_QUERIES["resolve"], looked_for, kinds, subjects))
    await connection.execute(_QUERIES["tell_opened"], _ids(opened), list(receivers))
    await connection.execute(_QUERIES["tell_recovered"], _ids(resolved))
    return opened, resolved


def _changes(rows: Iterable[asyncpg.Record]) -> list[Change]:
    return sorted((Change(**dict(row)) for row in rows), key=lambda change: change.id)


def _ids(changes: Iterable[Change]) -> list[int]:
    return [change.id for change in changes]


async def read_open_subjects(connection: Connection, kind: str) -> list[str]:
    return [row["subject"] for row in await connection.fetch(_QUERIES["open_subjects"], kind)]


async def forget(connection: Connection, *, older_than: timedelta) -> None:
    await connection.execute(_QUERIES["forget"], older_than)


# Telling ----------------------------------------------------------------------------------------


async def claim(connection: Connection, *, receiver: str, limit: int, duration: timedelta) -> list[Message]:
    """Messages of one kind and event, for one call."""
    rows = await connection.fetch(_QUERIES["claim"], receiver, limit, duration)
    return sorted((Message(**dict(row)) for row in rows), key=lambda message: message.id)


async def end(
    connection: Connection, messages: Sequence[Message], *, outcome: str, error: str | None = None
) -> None:
    await connection.execute(_QUERIES["end_messages"], [message.id for message in messages], outcome, error)


async def try_later(
    connection: Connection, messages: Sequence[Message], *, pause: timedelta, error: str
) -> None:
    claimed_until = messages[0].claimed_until
    await connection.execute(
        _QUERIES["try_later"], [message.id for message in messages], pause, claimed_until, error
    )


async def read_recent(connection: Connection, *, limit: int) -> list[AlertRecord]:
    return [AlertRecord(**dict(row)) for row in await connection.fetch(_QUERIES["recent"], limit)]
