"""Fills an empty database with the demo fleet, in one transaction."""

import secrets
from collections.abc import Callable

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet.passwords import hash_password

from . import rows

INSTANCES_DEFAULT = 480
_ORGANIZATIONS_MIN = 12
_INSTANCES_PER_ORGANIZATION = 40
_INSTANCES_PER_STEP = 20_000
_ORGANIZATIONS_PER_STEP = 5_000


async def seed(
    connection: Connection, *, instances: int, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Bring the demo fleet up to so many instances; returns how many were added.

    Raises `ContainerStacksError` when the database holds anything that is not of the demo. `progress` receives the
    number of instances so far.
    """
    password_hash = hash_password(secrets.token_hex(16))
    async with connection.transaction():
        await rows.hold_organizations(connection)
        fleet = await rows.read_fleet(connection)
        if not (fleet.is_empty or fleet.is_demo):
            raise ContainerStacksError(
                f"this database has data of its own ({fleet.organizations - fleet.organizations_demo}"
                f" organizations, {fleet.plans} plans, {fleet.instances} instances): the demo fleet goes into"
                " an empty database only"
            )
        if fleet.is_empty:
            await rows.create_plans(connection)
        wanted = max(_ORGANIZATIONS_MIN, instances // _INSTANCES_PER_ORGANIZATION)
        for first in range(fleet.organizations, wanted, _ORGANIZATIONS_PER_STEP):
            last = min(first + _ORGANIZATIONS_PER_STEP, wanted) - 1
            await rows.create_organizations(connection, first=first, last=last, password_hash=password_hash)
        for first in range(fleet.instances, instances, _INSTANCES_PER_STEP):
            last = min(first + _INSTANCES_PER_STEP, instances)
            await rows.create_instances(connection, first=first + 1, last=last)
            progress(last)
    return max(0, instances - fleet.instances)
