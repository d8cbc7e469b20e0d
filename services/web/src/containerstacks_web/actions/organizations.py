"""Who may read which organizations: staff all of them, owners and members what is theirs."""

from uuid import UUID

from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import organizations
from containerstacks_shared.fleet.organizations import Organization
from containerstacks_web.http.identity import Identity


async def find_readable(connection: Connection, identity: Identity, organization_id: UUID) -> Organization:
    """Raises `NotFound`, also for one that exists and is not the reader's, so that nobody learns which ids exist."""
    if identity.sees_details:
        return await organizations.find(connection, str(organization_id))
    if identity.user_id is None or not identity.reads_own:
        raise NotFound(f"there is no organization {organization_id}")
    found = await organizations.of_user(
        connection, identity.user_id, organization_id=organization_id, limit=1
    )
    if not found:
        raise NotFound(f"there is no organization {organization_id}")
    return found[0]


async def list_readable(
    connection: Connection, identity: Identity, *, limit: int, after: UUID | None = None
) -> list[Organization]:
    """In the order of their ids."""
    if identity.sees_details:
        return await organizations.read_page(connection, limit=limit, after=after)
    if identity.user_id is None or not identity.reads_own:
        return []
    return await organizations.of_user(connection, identity.user_id, limit=limit, after=after)
