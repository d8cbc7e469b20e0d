"""What the counting tests count."""

import asyncpg
import pytest

from support import fleet
from support.fleet import Organization, Plan


@pytest.fixture
async def organization(connection: asyncpg.Connection) -> Organization:
    return await fleet.add_organization(connection)


@pytest.fixture
async def plan(connection: asyncpg.Connection) -> Plan:
    return await fleet.add_plan(connection, specifications={"vcpus": 2, "memory": 4096, "disk": 81920})
