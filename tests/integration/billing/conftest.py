"""What only the billing tests bill."""

import asyncpg
import pytest

from support import fleet
from support.billing import Billing
from support.fleet import Organization, Plan


@pytest.fixture
def billing(billing: Billing, organization: Organization, plan: Plan) -> Billing:
    """It has a customer."""
    billing.organization, billing.plan = organization, plan
    return billing


@pytest.fixture
async def poor(connection: asyncpg.Connection) -> Organization:
    """It has a wallet, and no money."""
    return await fleet.add_organization(connection, balance="0.00")


@pytest.fixture
async def odd_plan(connection: asyncpg.Connection) -> Plan:
    """An hour of it costs 0.0054794…, which no column of the application holds."""
    return await fleet.add_plan(connection, base_price="4.00", markup_price="0")
