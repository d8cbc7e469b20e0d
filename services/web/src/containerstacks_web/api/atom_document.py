"""Writes the Atom feed: one entry for each incident or maintenance, which readers show again when something was said.

Ids are made from what never changes.
"""

import re
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

from feedgen.feed import FeedGenerator

from containerstacks_shared.status.documents import Incident, IncidentKind, IncidentUpdate
from containerstacks_web.live.board import Board

# Characters that XML does not allow.
_UNSPEAKABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
# Another one would make every entry new to every reader.
_IDS: Final = UUID("b2988482-8cd3-4be4-9202-94b350482e3f")
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)


def write(board: Board, *, company_name: str, path: str, public_url: str = "") -> bytes:
    """Write the feed; equal boards make equal bytes."""
    incidents = board.latest.incidents
    generator = FeedGenerator()
    generator.id(uuid5(_IDS, company_name).urn)
    generator.title(f"{company_name} status")
    generator.subtitle("Incidents and planned maintenance")
    generator.author({"name": company_name})
    generator.link(href=f"{public_url}/status", rel="alternate", type="text/html")
    generator.link(href=f"{public_url}{path}", rel="self", type="application/atom+xml")
    generator.updated(max((incident.updated_at for incident in incidents), default=_BEGINNING))
    for incident in incidents:
        _add(generator, incident, public_url)
    written: bytes = generator.atom_str()
    return written


def _add(generator: FeedGenerator, incident: Incident, public_url: str) -> None:
    entry = generator.add_entry(order="append")
    entry.id(uuid5(_IDS, f"{incident.id} {incident.created_at.isoformat()}").urn)
    entry.title(_speakable(f"{_kind(incident)}: {incident.title}"))
    entry.link(href=f"{public_url}/incidents/{incident.id}", rel="alternate", type="text/html")
    entry.published(incident.created_at)
    entry.updated(incident.updated_at)
    for component in incident.components:
        entry.category(term=component.value, label=component.title)
    text = "\n\n".join([_window(incident), *map(_line, incident.updates)]).strip()
    entry.content(_speakable(text), type="text")


def _kind(incident: Incident) -> str:
    word = "Maintenance" if incident.kind is IncidentKind.MAINTENANCE else "Incident"
    return f"{word} ({_words(incident.status)})"


def _window(incident: Incident) -> str:
    if incident.starts_at is None or incident.ends_at is None:
        return ""
    return f"From {_moment(incident.starts_at)} to {_moment(incident.ends_at)}."


def _line(update: IncidentUpdate) -> str:
    return f"{_moment(update.created_at)}, {_words(update.status)}: {update.body}"


def _speakable(text: str) -> str:
    return _UNSPEAKABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _words(status: str) -> str:
    return status.replace("_", " ")


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
