"""What the billing tests bill."""

import asyncpg
import pytest

from containerstacks_shared.database import db
from support import fleet
from support.billing import Billing
from support.fleet import Organization, Plan


@pytest.fixture
def billing(database_url: str, pool: db.Pool, connection: asyncpg.Connection) -> Billing:
    return Billing(database_url, pool, connection)


@pytest.fixture
async def plan(connection: asyncpg.Connection) -> Plan:
    """An hour of it costs 0.01."""
    return await fleet.add_plan(connection)


@pytest.fixture
async def organization(connection: asyncpg.Connection) -> Organization:
    """It has 100 USD."""
    return await fleet.add_organization(connection)


@pytest.fixture
async def odd_plan(connection: asyncpg.Connection) -> Plan:
    """An hour of it costs 0.0054794…, which no column of the application holds."""
    return await fleet.add_plan(connection, base_price="4.00", markup_price="0")
