"""The rows of alerts: conditions noticed, alerts opened, and their messages in the outbox."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.outbox import messages
from containerstacks_shared.outbox.messages import Draft, Topic

_QUERIES = load(__name__)


@dataclass(frozen=True)
class Condition:
    """A condition that holds now, and becomes an alert once it has held for `delay`."""

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
    opened_at: datetime


@dataclass(frozen=True)
class AlertRecord:
    """An alert, and its messages by outcome. `attempts` and `last_error` are of those that still wait."""

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


# Checking ---------------------------------------------------------------------------------------


async def claim_check(connection: Connection, name: str, *, every: timedelta) -> int | None:
    """Return up to where the last check saw; None when another process checks now, or did within `every`.

    The claim is a lock to the end of the transaction, which the caller owns.
    """
    seen: int | None = await connection.fetchval(_QUERIES["claim_check"], name, every)
    return seen


async def finish_check(connection: Connection, name: str, *, seen: int) -> None:
    await connection.execute(_QUERIES["finish_check"], name, seen)


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
    """Without its findings: not every process that checks may see rows about money."""
    row = await connection.fetchrow(_QUERIES["last_audit"])
    return None if row is None else LastAudit(**dict(row))


async def read_deltas(connection: Connection, *, seen: int) -> tuple[bool, int]:
    """Return whether a delta up to `seen` is still unfolded, and which is the newest now."""
    row = await connection.fetchrow(_QUERIES["deltas"], seen)
    assert row is not None
    return row["some_waited"], row["newest"]


# Noting -----------------------------------------------------------------------------------------


async def note(
    connection: Connection, found: Sequence[Condition], *, of: Collection[str], receivers: Sequence[str]
) -> tuple[list[Change], list[Change]]:
    """Open and resolve the alerts of those kinds by what was found of them, and store the messages for receivers.

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
    await messages.put(
        connection,
        Topic.ALERT,
        "opened",
        [_draft(change, receiver) for change in opened for receiver in receivers],
    )
    receivers_notified = await connection.fetch(_QUERIES["notified_of"], [change.id for change in resolved])
    await messages.put(
        connection, Topic.ALERT, "recovered", [_draft(row, row["receiver"]) for row in receivers_notified]
    )
    return opened, resolved


def _draft(alert: Change | asyncpg.Record, receiver: str) -> Draft:
    values = alert if isinstance(alert, asyncpg.Record) else vars(alert) | {"resolved_at": None}
    payload = {
        "kind": values["kind"],
        "summary": values["summary"],
        "opened_at": values["opened_at"].isoformat(),
        "resolved_at": values["resolved_at"] and values["resolved_at"].isoformat(),
    }
    # Alerts of one kind that begin or end together share one message.
    return Draft(values["id"], receiver, payload, batch=values["kind"])


def _changes(rows: Iterable[asyncpg.Record]) -> list[Change]:
    return sorted((Change(**dict(row)) for row in rows), key=lambda change: change.id)


async def read_open_subjects(connection: Connection, kind: str) -> list[str]:
    return [row["subject"] for row in await connection.fetch(_QUERIES["open_subjects"], kind)]


async def forget(connection: Connection, *, older_than: timedelta) -> None:
    await connection.execute(_QUERIES["forget"], older_than)


async def read_recent(connection: Connection, *, limit: int) -> list[AlertRecord]:
    """Open alerts before resolved ones, each newest first."""
    return await _read(connection, limit, None, True)


async def read_page(connection: Connection, *, limit: int, before: int | None) -> list[AlertRecord]:
    """The newest first, or those below one."""
    return await _read(connection, limit, before, False)


async def _read(connection: Connection, *values: object) -> list[AlertRecord]:
    return [AlertRecord(**dict(row)) for row in await connection.fetch(_QUERIES["alerts"], *values)]
