"""Incidents and planned maintenance: opened, changed and closed by administrators, read by everybody.

A maintenance begins and ends by itself: its status, and two updates that say so, follow from its window and the
database's time. The caller of a function that writes owns the transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from containerstacks_shared.core.errors import ChangeRefused, NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from .documents import Impact, Incident, IncidentId, IncidentKind, IncidentStatus, IncidentUpdate
from .incident_drafts import IncidentChange, IncidentDraft, MaintenanceDraft

# Longer ones, and later ones, are mistyped dates.
WINDOW_MAX: Final = timedelta(days=31)
AHEAD_MAX: Final = timedelta(days=366)
BACK_MAX: Final = timedelta(days=366)
# Time to fill in and send a form.
_LATE_MAX: Final = timedelta(minutes=5)
# A page with more open incidents than this would not be readable.
CURRENT_MAX: Final = 50
# Nobody reads more on one page.
MONTH_MAX: Final = 500

_BEGUN: Final = "The maintenance has begun."
_COMPLETED: Final = "The maintenance has ended as planned."
OPEN_STATUSES: Final = (
    IncidentStatus.INVESTIGATING,
    IncidentStatus.IDENTIFIED,
    IncidentStatus.MONITORING,
)
_STATUSES_OF_INCIDENTS: Final = (*OPEN_STATUSES, IncidentStatus.RESOLVED)

_QUERIES: Final = load(__name__)


@dataclass(frozen=True)
class IncidentPage:
    """Newest first. `next_before` is the cursor of the next page; None on the last."""

    incidents: list[Incident]
    next_before: IncidentId | None


@dataclass(frozen=True)
class Period:
    """When an incident or a maintenance was going on. `ended_at` is None, or in the future, while it is."""

    id: IncidentId
    kind: IncidentKind
    title: str
    impact: Impact
    began_at: datetime
    ended_at: datetime | None


async def publish(
    connection: Connection, draft: IncidentDraft | MaintenanceDraft, *, author: str
) -> Incident:
    """Open an incident or plan a maintenance, in one transaction.

    Raises `ChangeRefused` for an incident that begins in the future or began too long ago, and for a maintenance whose
    window is impossible or too far away.
    """
    async with connection.transaction():
        now: datetime = await connection.fetchval(_QUERIES["read_at"])
        status: IncidentStatus = IncidentStatus.SCHEDULED
        if isinstance(draft, IncidentDraft):
            incident_id, status = await _open_incident(connection, draft, now), draft.status
        else:
            incident_id = await _plan_maintenance(connection, draft, now)
        await connection.execute(_QUERIES["insert_update"], incident_id, status, draft.body, author)
        return await read(connection, incident_id)


async def _open_incident(connection: Connection, draft: IncidentDraft, now: datetime) -> IncidentId:
    if draft.started_at is not None:
        _assert_begun(draft.started_at, now)
    return IncidentId(
        await connection.fetchval(
            _QUERIES["insert_incident"],
            draft.title,
            draft.impact,
            draft.status,
            list(draft.components),
            draft.started_at,
        )
    )


async def _plan_maintenance(connection: Connection, draft: MaintenanceDraft, now: datetime) -> IncidentId:
    if draft.starts_at < now - _LATE_MAX:
        raise ChangeRefused(f"a maintenance cannot begin in the past ({draft.starts_at:%Y-%m-%d %H:%M %Z})")
    _assert_window(draft.starts_at, draft.ends_at, now)
    return IncidentId(
        await connection.fetchval(
            _QUERIES["insert_maintenance"],
            draft.title,
            list(draft.components),
            draft.starts_at,
            draft.ends_at,
        )
    )


async def change(
    connection: Connection, incident_id: IncidentId, wanted: IncidentChange, *, author: str
) -> Incident:
    """Change what is named, in one transaction.

    Raises `NotFound`, and `ChangeRefused` when it does not fit what is there.
    """
    async with connection.transaction():
        return await _change(connection, incident_id, wanted, author)


async def _change(
    connection: Connection, incident_id: IncidentId, wanted: IncidentChange, author: str
) -> Incident:
    row = await connection.fetchrow(_QUERIES["lock_incident"], incident_id)
    if row is None:
        raise NotFound(f"there is no incident or maintenance {incident_id}")
    if all(value is None for _, value in wanted):
        raise ChangeRefused("nothing is to change")
    if row["kind"] == IncidentKind.INCIDENT:
        values, said = _changed_incident(row, wanted)
    elif wanted.started_at is not None:
        raise ChangeRefused("a maintenance begins at startsAt")
    else:
        values, said = _changed_maintenance(row, wanted)
    await connection.execute(
        _QUERIES["change_incident"],
        incident_id,
        wanted.title or row["title"],
        values.get("impact", row["impact"]),
        values.get("status", row["status"]),
        list(wanted.components or row["components"]),
        values.get("closed_at", row["closed_at"]),
        values.get("starts_at", row["starts_at"]),
        values.get("ends_at", row["ends_at"]),
        values.get("started_at", row["started_at"]),
    )
    # The same status again is no news.
    if wanted.body is not None or said is not _status_of(row):
        body = wanted.body or f"The status is now: {said.value.replace('_', ' ')}."
        await connection.execute(_QUERIES["insert_update"], incident_id, said, body, author)
    return await read(connection, incident_id)


def possible_statuses(incident: Incident) -> tuple[IncidentStatus, ...]:
    """Return the statuses that an update may give: the present one, and those that can follow."""
    if incident.kind is IncidentKind.INCIDENT:
        is_over = incident.status is IncidentStatus.RESOLVED
        return (*_STATUSES_OF_INCIDENTS, IncidentStatus.POSTMORTEM) if is_over else _STATUSES_OF_INCIDENTS
    match incident.status:
        case IncidentStatus.SCHEDULED:
            return (IncidentStatus.SCHEDULED, IncidentStatus.CANCELLED)
        case IncidentStatus.IN_PROGRESS:
            return (IncidentStatus.IN_PROGRESS, IncidentStatus.COMPLETED, IncidentStatus.CANCELLED)
        case over:
            return (over,)


async def read(connection: Connection, incident_id: IncidentId) -> Incident:
    """Raises `NotFound`."""
    rows = await connection.fetch(_QUERIES["find_incident"], incident_id)
    if not rows:
        raise NotFound(f"there is no incident or maintenance {incident_id}")
    return (await _with_updates(connection, rows))[0]


async def read_current(connection: Connection) -> list[Incident]:
    """Read what is not over: open incidents, and maintenance that is planned or going on; the newest first."""
    return await _with_updates(connection, await connection.fetch(_QUERIES["current_incidents"], CURRENT_MAX))


async def read_page(
    connection: Connection, *, limit: int, before: IncidentId | None = None, kind: IncidentKind | None = None
) -> IncidentPage:
    rows = await connection.fetch(_QUERIES["page_of_incidents"], before, kind, limit + 1)
    page = rows[:limit]
    return IncidentPage(
        incidents=await _with_updates(connection, page),
        next_before=IncidentId(page[-1]["id"]) if len(rows) > limit else None,
    )


async def read_between(connection: Connection, begins: datetime, ends: datetime) -> list[Incident]:
    """Read what began in a stretch of time, the newest first."""
    return await _with_updates(
        connection, await connection.fetch(_QUERIES["incidents_between"], begins, ends, MONTH_MAX)
    )


async def read_periods(connection: Connection, since: datetime) -> list[Period]:
    """Read what was going on at some time since then, the newest first."""
    return [
        Period(
            id=IncidentId(row["id"]),
            kind=IncidentKind(row["kind"]),
            title=row["title"],
            impact=Impact(row["impact"]),
            began_at=row["began_at"],
            ended_at=row["ended_at"],
        )
        for row in await connection.fetch(_QUERIES["periods_since"], since, MONTH_MAX)
    ]


async def read_first_moment(connection: Connection) -> datetime | None:
    """Return when the first incident of all began."""
    first: datetime | None = await connection.fetchval(_QUERIES["first_incident"])
    return first


def _changed_incident(row: Any, wanted: IncidentChange) -> tuple[dict[str, object], IncidentStatus]:
    if wanted.starts_at is not None or wanted.ends_at is not None:
        raise ChangeRefused("an incident has no window; only a maintenance has")
    before = IncidentStatus(row["status"])
    status = said = wanted.status or before
    if said is IncidentStatus.POSTMORTEM:
        if before is not IncidentStatus.RESOLVED or wanted.body is None:
            raise ChangeRefused("a postmortem is a text about a resolved incident")
        status = before
    if status not in _STATUSES_OF_INCIDENTS:
        raise ChangeRefused(f"an incident cannot be {status.value}; only a maintenance can")
    started_at = wanted.started_at or row["started_at"]
    if wanted.started_at is not None:
        _assert_begun(wanted.started_at, row["created_at"])
    closed_at = None
    if status is IncidentStatus.RESOLVED:
        closed_at = row["closed_at"] or row["read_at"]
    values: dict[str, object] = {"status": status, "impact": wanted.impact or row["impact"]}
    return values | {"closed_at": closed_at, "started_at": started_at}, said


def _changed_maintenance(row: Any, wanted: IncidentChange) -> tuple[dict[str, object], IncidentStatus]:
    now: datetime = row["read_at"]
    before = _status_of(row)
    if before.is_over:
        # What it was can still be explained, and its name corrected.
        if wanted.status not in {None, before} or wanted.starts_at or wanted.ends_at or wanted.components:
            raise ChangeRefused(f"the maintenance is {before.value}, and stays so")
        return {}, before
    if wanted.impact is not None:
        raise ChangeRefused("a maintenance has no impact; its components are in maintenance")
    if wanted.starts_at is not None and before is IncidentStatus.IN_PROGRESS:
        raise ChangeRefused("the maintenance has begun already")
    values: dict[str, object] = {}
    match wanted.status:
        case None:
            pass
        case IncidentStatus.CANCELLED:
            return {"status": IncidentStatus.CANCELLED, "closed_at": now}, IncidentStatus.CANCELLED
        case IncidentStatus.COMPLETED if before is IncidentStatus.IN_PROGRESS:
            # The window cannot become empty: it began before now.
            return {"ends_at": now}, IncidentStatus.COMPLETED
        case same if same is before:
            pass
        case other:
            raise ChangeRefused(f"a maintenance that is {before.value} cannot be made {other.value}")
    if wanted.starts_at is not None or wanted.ends_at is not None:
        starts_at, ends_at = wanted.starts_at or row["starts_at"], wanted.ends_at or row["ends_at"]
        _assert_window(starts_at, ends_at, now)
        values = {"starts_at": starts_at, "ends_at": ends_at}
    return values, before


def _assert_begun(started_at: datetime, published_at: datetime) -> None:
    if started_at > published_at:
        raise ChangeRefused("an incident begins before it is published")
    if published_at - started_at > BACK_MAX:
        raise ChangeRefused(f"an incident begins at most {BACK_MAX.days} days before it is published")


def _assert_window(starts_at: datetime, ends_at: datetime, now: datetime) -> None:
    if ends_at <= starts_at:
        raise ChangeRefused("a maintenance ends after it begins")
    if ends_at <= now:
        raise ChangeRefused("the maintenance would be over already")
    if ends_at - starts_at > WINDOW_MAX:
        raise ChangeRefused(f"a maintenance takes {WINDOW_MAX.days} days at most")
    if starts_at - now > AHEAD_MAX:
        raise ChangeRefused(f"a maintenance begins within {AHEAD_MAX.days} days")


def _status_of(row: Any) -> IncidentStatus:
    """Return the status at the time when the row was read: a maintenance's follows from the time."""
    status = IncidentStatus(row["status"])
    if status is not IncidentStatus.SCHEDULED or row["read_at"] < row["starts_at"]:
        return status
    return IncidentStatus.IN_PROGRESS if row["read_at"] < row["ends_at"] else IncidentStatus.COMPLETED


async def _with_updates(connection: Connection, rows: Sequence[Any]) -> list[Incident]:
    updates: dict[int, list[IncidentUpdate]] = {row["id"]: [] for row in rows}
    for update in await connection.fetch(_QUERIES["updates_of"], list(updates)):
        updates[update["incident_id"]].append(
            IncidentUpdate(status=update["status"], body=update["body"], created_at=update["created_at"])
        )
    return [_incident(row, updates[row["id"]]) for row in rows]


def _incident(row: Any, said: list[IncidentUpdate]) -> Incident:
    status = _status_of(row)
    updates = sorted([*_updates_by_time(row, status, said), *said], key=_moment, reverse=True)
    closed_at = row["ends_at"] if status is IncidentStatus.COMPLETED else row["closed_at"]
    return Incident(
        id=row["id"],
        kind=row["kind"],
        title=row["title"],
        impact=row["impact"],
        status=status,
        components=row["components"],
        created_at=row["created_at"],
        updated_at=max([row["updated_at"], *map(_moment, updates)]),
        started_at=(row["started_at"] or row["created_at"]) if row["kind"] == IncidentKind.INCIDENT else None,
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        closed_at=closed_at,
        updates=updates,
    )


def _moment(update: IncidentUpdate) -> datetime:
    return update.created_at


def _updates_by_time(row: Any, status: IncidentStatus, said: list[IncidentUpdate]) -> list[IncidentUpdate]:
    """Return the automatic updates of a maintenance: that it has begun, and that it has ended."""
    if row["kind"] != IncidentKind.MAINTENANCE:
        return []
    until = row["closed_at"] or row["read_at"]
    updates = []
    if row["starts_at"] <= until:
        updates.append(
            IncidentUpdate(
                status=IncidentStatus.IN_PROGRESS,
                body=_BEGUN,
                # Planned for now: said first, begun then.
                created_at=max([row["starts_at"], *map(_moment, said[-1:])]),
            )
        )
    is_said = any(update.status is IncidentStatus.COMPLETED for update in said)
    if status is IncidentStatus.COMPLETED and not is_said:
        updates.append(
            IncidentUpdate(status=IncidentStatus.COMPLETED, body=_COMPLETED, created_at=row["ends_at"])
        )
    return updates
