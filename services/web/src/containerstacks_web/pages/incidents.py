"""Incidents and maintenance on the pages: what is open or planned, the worst first, and what was, by day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Final

from containerstacks_shared.status.documents import Impact, Incident, IncidentKind, IncidentStatus
from containerstacks_web.live.board import Board

# Days on the status page, including those without an incident.
_DAYS: Final = 7
_IMPACTS: Final = tuple(Impact)


@dataclass(frozen=True)
class PastDay:
    """What began on a day of UTC and is over; `goes_on`: something that began on it is not."""

    date: date
    incidents: Sequence[Incident]
    goes_on: bool


@dataclass(frozen=True)
class Published:
    """What administrators have published."""

    current: Sequence[Incident]
    past: Sequence[PastDay]


def published(board: Board) -> Published:
    current = {incident.id for incident in board.current}
    past = [incident for incident in board.latest.incidents if incident.id not in current]
    today = board.read_at.astimezone(UTC).date()
    days = [today - timedelta(days=back) for back in range(_DAYS)]
    if board.latest.next_before is not None and board.latest.incidents:
        # Of days before the oldest that was read nothing is known here.
        oldest = min(map(day_of, board.latest.incidents))
        days = [day for day in days if day >= oldest]
    begun = (incident for incident in board.current if incident.status is not IncidentStatus.SCHEDULED)
    going_on = {day_of(incident) for incident in begun}
    by_day = [
        PastDay(day, [incident for incident in past if day_of(incident) == day], day in going_on)
        for day in days
    ]
    return Published(sorted(board.current, key=_worst_first), by_day)


def day_of(incident: Incident) -> date:
    """Return the day that an incident is listed under; a maintenance cancelled before it began counts when it was."""
    return incident.began_at.astimezone(UTC).date()


def grade(incident: Incident) -> str:
    """Choose the colour: of what is going on `major`, `minor` or `maintenance`, of anything else `none`."""
    if incident.kind is IncidentKind.MAINTENANCE:
        return "maintenance" if incident.status is IncidentStatus.IN_PROGRESS else "none"
    return {Impact.NONE: "none", Impact.MINOR: "minor"}.get(incident.impact, "major")


def _worst_first(incident: Incident) -> tuple[int, int, int]:
    is_planned = incident.kind is IncidentKind.MAINTENANCE
    waits = is_planned and incident.status is not IncidentStatus.IN_PROGRESS
    return is_planned + waits, -_IMPACTS.index(incident.impact), -incident.id
