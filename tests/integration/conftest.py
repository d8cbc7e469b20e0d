"""What tests of one component bill and count."""

import asyncpg
import pytest

from support import fleet
from support.fleet import Organization, Plan


@pytest.fixture
async def plan(connection: asyncpg.Connection) -> Plan:
    """An hour of it costs 0.01."""
    return await fleet.add_plan(connection)


@pytest.fixture
async def organization(connection: asyncpg.Connection) -> Organization:
    """It has 100 USD."""
    return await fleet.add_organization(connection)
