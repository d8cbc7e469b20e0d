"""An incident whose words are too long for a line."""

from containerstacks_shared.database.db import Connection
from containerstacks_shared.status import incidents
from containerstacks_shared.status.documents import Component, IncidentKind
from containerstacks_shared.status.incident_drafts import IncidentDraft

ADDRESS = "https://status.example.com/" + "and/on/" * 20


async def publish(connection: Connection) -> int:
    """Open an incident that is called and says nothing but a long address; return its id."""
    draft = IncidentDraft(
        kind=IncidentKind.INCIDENT, title=ADDRESS, body=ADDRESS, components=(Component.VPS,)
    )
    return (await incidents.publish(connection, draft, author="ada@example.com")).id
