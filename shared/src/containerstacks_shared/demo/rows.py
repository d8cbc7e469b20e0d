"""The demo fleet's rows: made in bulk, changed one at a time."""

from dataclasses import dataclass
from uuid import UUID

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

QUERIES = load(__name__)


@dataclass(frozen=True)
class Fleet:
    """How many rows the database holds, of the demo and of others."""

    organizations: int
    organizations_demo: int
    plans: int
    instances: int

    @property
    def is_empty(self) -> bool:
        return self.organizations == self.plans == self.instances == 0

    @property
    def is_demo(self) -> bool:
        """Whether all of it is made up."""
        return 0 < self.organizations == self.organizations_demo


@dataclass(frozen=True)
class Picked:
    id: UUID
    status: str | None


async def hold_organizations(connection: Connection) -> None:
    """Keep others from writing organizations until the transaction ends."""
    await connection.execute(QUERIES["hold_organizations"])


async def read_fleet(connection: Connection) -> Fleet:
    (row,) = await connection.fetch(QUERIES["fleet"])
    return Fleet(**dict(row))


async def create_plans(connection: Connection) -> None:
    await connection.execute(QUERIES["create_plans"])


async def create_organizations(connection: Connection, *, first: int, last: int, password_hash: str) -> None:
    await connection.execute(QUERIES["create_organizations"], first, last, password_hash)


async def create_instances(connection: Connection, *, first: int, last: int) -> None:
    await connection.execute(QUERIES["create_instances"], first, last)


async def pick_instance(connection: Connection, *, near: UUID) -> Picked | None:
    row = await connection.fetchrow(QUERIES["pick_instance"], near)
    return None if row is None else Picked(id=row["id"], status=row["status"])


async def change_status(connection: Connection, instance_id: UUID, *, before: str | None, after: str) -> bool:
    """Whether it was done: not if the instance was changed or deleted meanwhile."""
    status = await connection.execute(QUERIES["change_status"], instance_id, after, before)
    return status == "UPDATE 1"


async def copy_instance(connection: Connection, instance_id: UUID, *, number: int) -> UUID | None:
    identifier: UUID | None = await connection.fetchval(QUERIES["copy_instance"], instance_id, number)
    return identifier


async def delete_instance(connection: Connection, instance_id: UUID) -> bool:
    """Whether it was deleted: only a stopped one is."""
    status = await connection.execute(QUERIES["delete_instance"], instance_id)
    return status == "DELETE 1"


async def find_poorest_organization(connection: Connection) -> str | None:
    identifier: str | None = await connection.fetchval(QUERIES["poorest_organization"])
    return identifier
