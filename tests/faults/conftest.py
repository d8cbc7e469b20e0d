"""What the tests of faults share."""

import asyncpg
import pytest

from containerstacks_shared.database import db
from support.billing import Billing


@pytest.fixture
def billing(database_url: str, pool: db.Pool, connection: asyncpg.Connection) -> Billing:
    return Billing(database_url, pool, connection)
