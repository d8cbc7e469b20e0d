"""What an administrator tells, in words that no line breaks by itself."""

from containerstacks_shared.db import Connection
from containerstacks_shared.models_status import Component, IncidentDraft, IncidentKind
from containerstacks_shared.store import incidents

ADDRESS = "https://status.example.com/" + "and/on/" * 20


async def tell_an_address(connection: Connection) -> int:
    """Open an incident that is called and says nothing but a long address; return its id."""
    draft = IncidentDraft(
        kind=IncidentKind.INCIDENT, title=ADDRESS, body=ADDRESS, components=(Component.VPS,)
    )
    return (await incidents.open_incident(connection, draft, author="ada@example.com")).id
