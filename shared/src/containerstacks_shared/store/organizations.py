"""Organizations, as operators name them."""

from dataclasses import dataclass
from uuid import UUID

from containerstacks_shared.db import Connection
from containerstacks_shared.errors import NotFound
from containerstacks_shared.sql import load

_QUERIES = load("organizations")


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
