"""Planned maintenance as a calendar (RFC 5545): one event each, under an id that never changes."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

from aiohttp import web

from containerstacks_shared.status.documents import Incident, IncidentKind, IncidentStatus
from containerstacks_web.http.conditional import answer_with_etag
from containerstacks_web.live.board import STATUS_BOARD
from containerstacks_web.settings import SETTINGS

CALENDAR_PATH: Final = "/status/maintenance.ics"
# Another one would make every event new to every calendar.
_IDS: Final = UUID("0f7c86b5-4a6b-46a8-9bd3-3c0f0a37f0ce")
_LINE_BYTES_MAX: Final = 75


async def calendar(request: web.Request) -> web.Response:
    board = await request.app[STATUS_BOARD].current()
    settings = request.app[SETTINGS]
    body = write(
        board.latest.incidents, company_name=settings.company_name, public_url=settings.public_address
    )
    return answer_with_etag(request, body, content_type="text/calendar", is_for_other_sites=True)


def write(incidents: Iterable[Incident], *, company_name: str, public_url: str) -> bytes:
    """Write the calendar; the same maintenance makes the same bytes."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//ContainerStacks//Status//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        f"X-WR-CALNAME:{_text(f'{company_name} maintenance')}",
    ]
    for incident in incidents:
        if incident.kind is IncidentKind.MAINTENANCE:
            lines.extend(_event(incident, public_url))
    lines.append("END:VCALENDAR")
    return b"".join(_folded(line) for line in lines)


def _event(incident: Incident, public_url: str) -> Iterator[str]:
    assert incident.starts_at is not None
    assert incident.ends_at is not None
    about = ", ".join(component.title for component in incident.components)
    first = incident.updates[-1].body if incident.updates else ""
    yield "BEGIN:VEVENT"
    yield f"UID:{uuid5(_IDS, f'{incident.id} {incident.created_at.isoformat()}')}"
    yield f"DTSTAMP:{_moment(incident.updated_at)}"
    yield f"LAST-MODIFIED:{_moment(incident.updated_at)}"
    # What changed since is a newer version of the same event.
    yield f"SEQUENCE:{max(0, len(incident.updates) - 1)}"
    yield f"DTSTART:{_moment(incident.starts_at)}"
    yield f"DTEND:{_moment(incident.ends_at)}"
    yield f"SUMMARY:{_text(incident.title)}"
    yield f"DESCRIPTION:{_text(f'{about}. {first}')}"
    yield f"STATUS:{'CANCELLED' if incident.status is IncidentStatus.CANCELLED else 'CONFIRMED'}"
    if public_url:
        yield f"URL:{public_url}/incidents/{incident.id}"
    yield "END:VEVENT"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return "".join(part for part in escaped.replace("\r\n", "\n").replace("\n", "\\n") if part.isprintable())


def _folded(line: str) -> bytes:
    """Break a line where it is too long, and never within a character."""
    parts: list[bytes] = []
    part = b""
    for character in line:
        encoded = character.encode()
        if len(part) + len(encoded) > _LINE_BYTES_MAX - bool(parts):
            parts.append(part)
            part = b""
        part += encoded
    return b"\r\n ".join([*parts, part]) + b"\r\n"
