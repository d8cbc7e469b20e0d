"""A lived-in database of the original, adopted once and copied for each test, and what it was before."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import psycopg
import pytest

from containerstacks_shared.schema import Migration, migrate
from support import catalog, databases
from support.billing import Billing, billing_on
from support.databases import DatabaseServer

# The original's columns that are widened.
MONEY = {
    "wallets.balance",
    "payment_transactions.amount",
    "vps_billing_cycles.hourly_rate",
    "vps_billing_cycles.total_amount",
    "billing_daemon_status.total_amount",
    "vps_plans.base_price",
    "vps_plans.markup_price",
}


@dataclass(frozen=True)
class Adopted:
    dsn: str
    migration: Migration
    objects_before: dict[str, str]
    rows_before: catalog.Rows


@pytest.fixture(scope="session")
def adopted_template(database_server: DatabaseServer, schema_a_template: str) -> Iterator[Adopted]:
    dsn = database_server.create("template_adopted", template=schema_a_template)
    objects, rows = catalog.everything(dsn), catalog.rows(dsn)
    adopted = Adopted(dsn, migrate(dsn), objects, rows)
    template = database_server.freeze(dsn)
    yield adopted
    database_server.drop(template)


@pytest.fixture
def adopted(database_server: DatabaseServer, adopted_template: Adopted) -> Iterator[Adopted]:
    dsn = database_server.create("test", template=databases.database_name(adopted_template.dsn))
    yield replace(adopted_template, dsn=dsn)
    database_server.drop(databases.database_name(dsn))


@pytest.fixture
def before_the_daemon_url(schema_a_url: str) -> str:
    """Give a database of the version that never looked for a daemon."""
    with psycopg.connect(schema_a_url) as connection:
        connection.execute("drop table billing_daemon_status")
    return schema_a_url


@pytest.fixture
async def billing(adopted: Adopted) -> AsyncIterator[Billing]:
    """The engine on the adopted database, which is still paused."""
    async with billing_on(adopted.dsn) as billing:
        yield billing
