"""Every kind of damage is planted, in old rows and in new ones, and found; what is new is found by the short audit."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import pytest

from containerstacks_shared.billing import audit_records, refunds, write_offs
from containerstacks_shared.billing.audit import audit
from containerstacks_shared.billing.verify import Scope, Severity, verify, verify_snapshot
from integration.billing.damages import DAMAGES, Damage, in_archive
from support import databases, fleet
from support.archiving import archive_audited
from support.billing import Billing, billing_on
from support.databases import DatabaseServer
from support.fleet import Organization

OPERATOR = {"reason": "for the test", "author": "ada"}


GUARDED = ("wallets", "wallet_ledger_entries", "vps_instances")


@dataclass(frozen=True)
class History:
    """Two like halves with a clean audit between them; each has a run with charges, a refund, a write-off, a debt."""

    dsn: str
    offset: timedelta
    first_run: int
    second_run: int


@pytest.fixture(scope="module")
def history(database_server: DatabaseServer, migrated_template: str) -> Iterator[History]:
    """Build the history once; the damage of each test is rolled back."""
    dsn = database_server.create("history", template=migrated_template)
    with ThreadPoolExecutor() as outside_the_loop_of_the_tests:
        yield outside_the_loop_of_the_tests.submit(asyncio.run, live(dsn)).result()
    database_server.drop(databases.database_name(dsn))


@pytest.fixture
def database_url(history: History) -> str:
    return history.dsn


async def live(dsn: str) -> History:
    async with billing_on(dsn) as billing:
        connection = billing.connection
        plan = await fleet.add_plan(connection)
        dear = await fleet.add_plan(connection, base_price="730", markup_price="0")
        rich = await fleet.add_organization(connection, slug="rich", balance="1000")
        poor = await fleet.add_organization(connection, slug="poor", balance="0")
        for hours_due in (5, 2):
            await fleet.add_instance(connection, rich, plan, hours_due=hours_due)
        await fleet.add_instance(connection, rich, dear, hours_due=3)
        await fleet.add_instance(connection, rich, plan, label="refunded", hours_due=3)
        await fleet.add_instance(connection, poor, plan, hours_due=3)
        first = await live_half(billing, poor, reference="first")
        async with billing.pool.acquire() as auditor:
            assert (await audit(auditor)).findings == []
        # The poor one's money has to end once more.
        await billing.pass_hours(4)
        second = await live_half(billing, poor, reference="second")
        return History(dsn, billing.offset, first, second)


async def live_half(billing: Billing, poor: Organization, *, reference: str) -> int:
    """Charge, refund, forgive; then charge again behind what was forgiven."""
    run_id = (await billing.run()).run_id
    connection = billing.connection
    cycle = await connection.fetchval(
        "select c.id from vps_billing_cycles c join vps_instances i on i.id = c.vps_instance_id"
        " where c.billing_run_id = $1 and i.label = 'refunded'",
        run_id,
    )
    await refunds.refund_cycle(connection, cycle, **OPERATOR)
    assert (await write_offs.write_off_organization(connection, str(poor.id), **OPERATOR)).hours
    await billing.credit(poor, "0.03", reference=reference)
    await billing.pass_hours(1)
    await billing.run()
    return run_id


@asynccontextmanager
async def damaged(
    connection: asyncpg.Connection, wanted: Damage, run_id: int, *, archived: bool = False
) -> AsyncIterator[None]:
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    if archived:
        assert await archive_audited(connection) > 0
        await connection.execute(
            "select add_archive_month('payment_transactions', date_trunc('month', now(), 'UTC'))"
        )
    # What no statement of a client can do, an administrator of the server can.
    for table in GUARDED:
        await connection.execute(f"alter table {table} disable trigger all")
    statement = in_archive(wanted.statement) if archived else wanted.statement
    values = [run_id] if "$1" in statement else []
    assert (await connection.execute(statement, *values)).split()[-1] == "1"
    yield
    await transaction.rollback()


async def checks(connection: asyncpg.Connection, scope: Scope) -> set[str]:
    findings = await verify_snapshot(connection, scope)
    assert all(finding.key and finding.detail for finding in findings)
    return {finding.check for finding in findings if finding.severity is Severity.OWN}


async def since_last_audit(connection: asyncpg.Connection) -> Scope:
    base = await audit_records.last_clean(connection)
    assert base is not None
    return Scope.since_audit(base)


async def test_a_history_with_refunds_write_offs_and_debts_is_clean(
    history: History, connection: asyncpg.Connection
) -> None:
    assert history.first_run < history.second_run
    assert await verify(connection) == []
    assert await verify(connection, await since_last_audit(connection)) == []


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_in_new_rows_is_found_by_any_audit(
    name: str, history: History, connection: asyncpg.Connection
) -> None:
    async with damaged(connection, DAMAGES[name], history.second_run):
        assert await checks(connection, await since_last_audit(connection)) >= DAMAGES[name].found_by
        assert await checks(connection, Scope.everything()) >= DAMAGES[name].found_by


async def test_an_archived_history_is_clean(history: History, connection: asyncpg.Connection) -> None:
    async with damaged(connection, Damage("select 1", frozenset()), history.first_run, archived=True):
        assert await checks(connection, Scope.everything()) == set()
        assert await checks(connection, await since_last_audit(connection)) == set()


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_in_old_rows_is_found_by_a_full_audit(
    name: str, history: History, connection: asyncpg.Connection, *, archived: bool
) -> None:
    async with damaged(connection, DAMAGES[name], history.first_run, archived=archived):
        assert await checks(connection, Scope.everything()) >= DAMAGES[name].found_by
