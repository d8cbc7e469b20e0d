"""`containerstacks incident`: publish, update and resolve incidents."""

from typing import Annotated

import typer

from containerstacks_shared.status import incidents
from containerstacks_shared.status.documents import (
    Component,
    Impact,
    Incident,
    IncidentId,
    IncidentKind,
    IncidentStatus,
)
from containerstacks_shared.status.incident_drafts import IncidentChange, IncidentDraft

from .checked import checked
from .database import operator, run_with_database
from .groups import command_group
from .options import Limit

app = command_group("Incidents on the status page.")

IncidentNumber = Annotated[int, typer.Argument(metavar="ID", min=1, help="Its number, as `list` shows it.")]
Title = Annotated[str, typer.Option("--title", help="The title: what is wrong, in a few words.")]
Body = Annotated[str, typer.Option("--body", help="The text that everybody reads.")]
Affected = Annotated[
    list[Component], typer.Option("--component", help="An affected component; repeat the option for each.")
]


@app.command("open")
def open_(
    title: Title,
    body: Body,
    components: Affected,
    impact: Annotated[Impact, typer.Option("--impact", help="The impact.")] = Impact.MINOR,
) -> None:
    """Open an incident; every open page shows it at once."""
    draft = checked(
        IncidentDraft,
        kind=IncidentKind.INCIDENT,
        title=title,
        body=body,
        components=components,
        impact=impact,
    )
    opened = run_with_database(incidents.publish, draft, author=operator())
    print(f"Opened {describe(opened)}")


@app.command()
def update(
    number: IncidentNumber,
    body: Annotated[str | None, typer.Option("--body", help="The text that everybody reads.")] = None,
    status: Annotated[IncidentStatus | None, typer.Option("--status", help="The status.")] = None,
    impact: Annotated[Impact | None, typer.Option("--impact", help="The impact.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="Another title.")] = None,
) -> None:
    """Add to an incident, or change it."""
    print(f"Updated {change(number, body=body, status=status, impact=impact, title=title)}")


@app.command()
def resolve(
    number: IncidentNumber, body: Annotated[str | None, typer.Option("--body", help="What it was.")] = None
) -> None:
    """Close an incident."""
    print(f"Resolved {change(number, status=IncidentStatus.RESOLVED, body=body)}")


@app.command("list")
def list_(limit: Limit = 20) -> None:
    """List incidents and maintenance, the newest first."""
    print_page(None, limit)


def change(number: int, **wanted: object) -> str:
    """Change an incident or a maintenance, and describe what it is then."""
    asked = checked(IncidentChange, **{name: value for name, value in wanted.items() if value is not None})
    return describe(run_with_database(incidents.change, IncidentId(number), asked, author=operator()))


def print_page(kind: IncidentKind | None, limit: int) -> None:
    page = run_with_database(incidents.read_page, limit=limit, kind=kind)
    for incident in page.incidents:
        print(describe(incident))
    if not page.incidents:
        print("There are none.")


def describe(incident: Incident) -> str:
    words = [f"{incident.id}: {incident.title} ({incident.status.value.replace('_', ' ')}"]
    if incident.kind is IncidentKind.INCIDENT:
        words.append(f", impact {incident.impact.value}")
    words.append(f"; {', '.join(incident.components)})")
    if incident.starts_at is not None and incident.ends_at is not None:
        words.append(f", {incident.starts_at:%Y-%m-%d %H:%M} to {incident.ends_at:%Y-%m-%d %H:%M} UTC")
    return "".join(words)
