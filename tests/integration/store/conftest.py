"""What the counting tests count."""

import asyncpg
import pytest

from support import fleet
from support.fleet import Plan


@pytest.fixture
async def plan(connection: asyncpg.Connection) -> Plan:
    """It has more than one of each resource, so that a factor shows in the sums."""
    return await fleet.add_plan(connection, specifications={"vcpus": 2, "memory": 4096, "disk": 81920})
