"""Organizations, as operators name them."""

from dataclasses import dataclass
from uuid import UUID

from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_QUERIES = load(__name__)


@dataclass(frozen=True)
class Organization:
    id: UUID
    name: str
    slug: str


async def find(connection: Connection, name: str) -> Organization:
    """Find the organization with this id or slug. Raises `NotFound`."""
    row = await connection.fetchrow(_QUERIES["find_organization"], name)
    if row is None:
        raise NotFound(f"there is no organization with the id or slug {name!r}")
    return Organization(**dict(row))


async def search(connection: Connection, typed: str, *, limit: int) -> list[Organization]:
    """Find organizations by id, slug, a part of the name, or the beginning of a member's address."""
    pattern = typed.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = await connection.fetch(_QUERIES["search_organizations"], typed, pattern, limit)
    return [Organization(**dict(row)) for row in rows]


async def read_page(connection: Connection, *, limit: int, after: UUID | None = None) -> list[Organization]:
    """Everybody's, in the order of their ids."""
    rows = await connection.fetch(_QUERIES["organizations_page"], after, limit)
    return [Organization(**dict(row)) for row in rows]


async def of_user(
    connection: Connection,
    user_id: UUID,
    *,
    limit: int,
    organization_id: UUID | None = None,
    after: UUID | None = None,
) -> list[Organization]:
    """Return the organizations that the user owns or is a member of in the order of their ids, or one of them."""
    rows = await connection.fetch(_QUERIES["organizations_of_user"], user_id, organization_id, after, limit)
    return [Organization(**dict(row)) for row in rows]
