"""`containerstacks maintenance`: announce work that is planned. It begins and ends by itself."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from containerstacks_shared.status import incidents
from containerstacks_shared.status.documents import IncidentKind, IncidentStatus
from containerstacks_shared.status.incident_drafts import MaintenanceDraft

from .checked import checked
from .database import operator, run_with_database
from .groups import command_group
from .incident import Affected, Body, IncidentNumber, change, describe, print_page
from .options import Limit

app = command_group("Planned maintenance on the status page.")


def _parse_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            "expected a time like 2030-01-31T22:00 (UTC) or 2030-01-31T22:00+01:00"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@app.command()
def plan(
    title: Annotated[str, typer.Option("--title", help="The title: what is planned, in a few words.")],
    body: Body,
    components: Affected,
    starts: Annotated[
        datetime,
        typer.Option(
            "--from",
            parser=_parse_moment,
            metavar="TIME",
            help="When it begins; in UTC unless it has a time zone.",
        ),
    ],
    ends: Annotated[
        datetime, typer.Option("--to", parser=_parse_moment, metavar="TIME", help="When it ends.")
    ],
) -> None:
    """Plan a maintenance: the page announces it, and its components are in maintenance meanwhile."""
    draft = checked(
        MaintenanceDraft,
        kind=IncidentKind.MAINTENANCE,
        title=title,
        body=body,
        components=components,
        starts_at=starts,
        ends_at=ends,
    )
    planned = run_with_database(incidents.publish, draft, author=operator())
    print(f"Planned {describe(planned)}")


@app.command()
def cancel(
    number: IncidentNumber, body: Annotated[str | None, typer.Option("--body", help="Why.")] = None
) -> None:
    """Cancel a maintenance, also one that has begun."""
    print(f"Cancelled {change(number, status=IncidentStatus.CANCELLED, body=body)}")


@app.command("list")
def list_(limit: Limit = 20) -> None:
    """List maintenance, the newest first."""
    print_page(IncidentKind.MAINTENANCE, limit)
