"""Incidents and maintenance, as administrators publish them."""

import structlog

from containerstacks_shared.database.db import Connection
from containerstacks_shared.status import incidents
from containerstacks_shared.status.documents import Incident, IncidentId
from containerstacks_shared.status.incident_drafts import IncidentChange, IncidentDraft, MaintenanceDraft
from containerstacks_web.http.identity import Identity

_log = structlog.get_logger(__name__)


async def publish(
    connection: Connection, draft: IncidentDraft | MaintenanceDraft, identity: Identity
) -> Incident:
    """Open an incident or plan a maintenance. Raises `ChangeRefused`."""
    incident = await incidents.publish(connection, draft, author=identity.author)
    _log.info("incidents.opened", incident_id=incident.id, kind=incident.kind.value, author=identity.author)
    return incident


async def change(
    connection: Connection, incident_id: IncidentId, wanted: IncidentChange, identity: Identity
) -> Incident:
    """Change what is named. Raises `NotFound` and `ChangeRefused`."""
    incident = await incidents.change(connection, incident_id, wanted, author=identity.author)
    _log.info(
        "incidents.changed", incident_id=incident.id, status=incident.status.value, author=identity.author
    )
    return incident
