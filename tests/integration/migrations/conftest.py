"""A lived-in database of the original, and what it was before anybody adopted it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from containerstacks_shared import db
from containerstacks_shared.migrations import Migration, migrate
from support import catalog
from support.billing import Billing


@dataclass(frozen=True)
class Adopted:
    dsn: str
    migration: Migration
    objects_before: dict[str, str]
    rows_before: catalog.Rows


@pytest.fixture
def adopted(schema_a_url: str) -> Adopted:
    objects, rows = catalog.everything(schema_a_url), catalog.rows(schema_a_url)
    return Adopted(schema_a_url, migrate(schema_a_url), objects, rows)


@pytest.fixture
async def billing(adopted: Adopted) -> AsyncIterator[Billing]:
    """The engine on the adopted database, which is still paused."""
    pool = await db.create_pool(adopted.dsn, service="tests")
    connection = await asyncpg.connect(adopted.dsn)
    yield Billing(adopted.dsn, pool, connection)
    await connection.close()
    pool.terminate()
