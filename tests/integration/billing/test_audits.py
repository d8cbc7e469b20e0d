"""Every kind of damage is planted, in old rows and in new ones, and found; what is new is found by the short audit."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import pytest

from containerstacks_shared import db
from containerstacks_shared.billing import refunds, write_offs
from containerstacks_shared.billing.audit import audit
from containerstacks_shared.billing.verify import Scope, Severity, verify, verify_snapshot
from containerstacks_shared.store import audits
from support import databases, fleet
from support.billing import Billing
from support.databases import DatabaseServer
from support.fleet import Organization

OPERATOR = {"reason": "for the test", "author": "ada"}


@dataclass(frozen=True)
class Damage:
    """`statement` is about the rows of run $1 (its id); `found_by` are the checks that must name something."""

    statement: str
    found_by: frozenset[str]


def damage(statement: str, *found_by: str) -> Damage:
    return Damage(statement, frozenset(found_by))


# One billed cycle of the run, its debit, its ledger entry: always the same ones.
CYCLE = (
    "(select id from vps_billing_cycles where billing_run_id = $1 and status = 'billed'"
    " and organization_id = (select id from organizations where slug = 'rich') order by id limit 1)"
)
DEBIT = f"(select payment_transaction_id from vps_billing_cycles where id = {CYCLE})"
ENTRY = f"(select wallet_ledger_entry_id from payment_transactions where id = {DEBIT})"
INSTANCE = f"(select vps_instance_id from vps_billing_cycles where id = {CYCLE})"
REFUNDED = "(select id from vps_billing_cycles where billing_run_id = $1 and status = 'refunded' limit 1)"
REFUND = f"(select id from payment_transactions where provider_transaction_id = {REFUNDED}::text)"
FORGIVEN = (
    "(select c.id from vps_billing_cycles c where c.billing_run_id is null and c.billing_correction_id is not null"
    " and c.created_at >= (select started_at from billing_runs where id = $1) order by c.created_at limit 1)"
)
FAILED = "(select id from vps_billing_cycles where billing_run_id = $1 and status = 'failed' limit 1)"
COLUMNS = (
    "organization_id, billing_period_start, billing_period_end, hourly_rate, total_amount, status, billing_run_id,"
    " payment_transaction_id"
)

DAMAGES = {
    "a cycle that costs more": damage(
        f"update vps_billing_cycles set total_amount = total_amount + 1 where id = {CYCLE}",
        "broken_periods",
        "cycles_without_their_debit",
        "runs_unlike_their_cycles",
        "runs_unlike_their_entries",
    ),
    "the last digit of a cycle": damage(
        f"update vps_billing_cycles set total_amount = total_amount + 0.00000001 where id = {CYCLE}",
        "broken_periods",
        "cycles_without_their_debit",
    ),
    "a wrong rate": damage(
        f"update vps_billing_cycles set hourly_rate = 0.03, total_amount = 0.03 * total_amount / hourly_rate"
        f" where id = {CYCLE}",
        "rates_not_in_force",
    ),
    "a period that is longer": damage(
        "update vps_billing_cycles set billing_period_end = billing_period_end + interval '1 hour',"
        f" total_amount = total_amount + hourly_rate where id = {CYCLE}",
        "runs_unlike_their_cycles",
    ),
    "a period that lasts no whole hours": damage(
        "update vps_billing_cycles set billing_period_end = billing_period_end + interval '1 microsecond'"
        f" where id = {CYCLE}",
        "broken_periods",
    ),
    "a period without an end": damage(
        f"update vps_billing_cycles set billing_period_end = 'infinity' where id = {CYCLE}", "broken_periods"
    ),
    "a period that was moved": damage(
        "update vps_billing_cycles set billing_period_start = billing_period_start + interval '30 minutes',"
        f" billing_period_end = billing_period_end + interval '30 minutes' where id = {CYCLE}",
        "overlapping_periods",
    ),
    "a cycle that was deleted": damage(
        f"delete from vps_billing_cycles where id = {CYCLE}",
        "debits_without_their_cycle",
        "runs_unlike_their_cycles",
    ),
    "a cycle twice": damage(
        f"insert into vps_billing_cycles (vps_instance_id, {COLUMNS})"
        " select vps_instance_id, organization_id, billing_period_start + interval '1 microsecond',"
        " billing_period_end + interval '1 microsecond', hourly_rate, total_amount, status, billing_run_id,"
        f" payment_transaction_id from vps_billing_cycles where id = {CYCLE}",
        "overlapping_periods",
        "debits_with_two_cycles",
        "runs_unlike_their_cycles",
    ),
    "a cycle of an instance that never was": damage(
        f"insert into vps_billing_cycles (vps_instance_id, {COLUMNS})"
        f" select gen_random_uuid(), {COLUMNS} from vps_billing_cycles where id = {CYCLE}",
        "cycles_of_no_instance",
    ),
    "a cycle of a run that never was": damage(
        f"update vps_billing_cycles set billing_run_id = 4711 where id = {CYCLE}",
        "runs_unlike_their_cycles",
    ),
    "a cycle that claims to be pending": damage(
        f"update vps_billing_cycles set status = 'pending' where id = {CYCLE}", "runs_unlike_their_cycles"
    ),
    "a debit that was deleted": damage(
        f"delete from payment_transactions where id = {DEBIT}",
        "cycles_without_their_debit",
        "entries_unlike_their_transactions",
    ),
    "a debit of another amount": damage(
        f"update payment_transactions set amount = amount - 0.01 where id = {DEBIT}",
        "cycles_without_their_debit",
        "entries_unlike_their_transactions",
    ),
    "a debit of another organization": damage(
        f"update payment_transactions set organization_id = gen_random_uuid() where id = {DEBIT}",
        "cycles_without_their_debit",
    ),
    "a debit that did not happen": damage(
        f"update payment_transactions set status = 'failed' where id = {DEBIT}", "cycles_without_their_debit"
    ),
    "two debits swapped": damage(
        "update vps_billing_cycles c set payment_transaction_id = (select other.payment_transaction_id"
        " from vps_billing_cycles other where other.billing_run_id = $1 and other.status = 'billed'"
        f" and other.total_amount <> c.total_amount limit 1) where id = {CYCLE}",
        "cycles_without_their_debit",
        "debits_with_two_cycles",
    ),
    "a debit twice": damage(
        "insert into payment_transactions (organization_id, amount, payment_method, payment_provider, status,"
        " wallet_ledger_entry_id) select organization_id, amount, payment_method, payment_provider, status,"
        f" wallet_ledger_entry_id from payment_transactions where id = {DEBIT}",
        "debits_without_their_cycle",
        "entries_unlike_their_transactions",
    ),
    "a transaction of an entry that never was": damage(
        f"update payment_transactions set wallet_ledger_entry_id = 4711 where id = {DEBIT}",
        "transactions_without_their_entry",
        "entries_unlike_their_transactions",
    ),
    "an entry of another amount": damage(
        f"update wallet_ledger_entries set amount = amount - 1 where id = {ENTRY}",
        "ledger_out_of_step",
        "entries_unlike_their_transactions",
        "runs_unlike_their_entries",
    ),
    "an entry that was deleted": damage(
        f"delete from wallet_ledger_entries where id = {ENTRY}",
        "transactions_without_their_entry",
        "ledger_out_of_step",
    ),
    "an entry that changed places": damage(
        f"update wallet_ledger_entries set wallet_id = gen_random_uuid() where id = {ENTRY}",
        "ledger_out_of_step",
    ),
    "a run that says more than it did": damage(
        "update billing_runs set amount_billed = amount_billed + 1 where id = $1", "runs_unlike_their_cycles"
    ),
    "a run that counts wrong": damage(
        "update billing_runs set instances_billed = instances_billed + 1 where id = $1",
        "runs_unlike_their_cycles",
    ),
    "a mark moved forward": damage(
        f"update vps_instances set last_billed_at = last_billed_at + interval '1 hour' where id = {INSTANCE}",
        "periods_beyond_last_billed",
    ),
    "a mark moved back": damage(
        f"update vps_instances set last_billed_at = last_billed_at - interval '1 hour' where id = {INSTANCE}",
        "periods_beyond_last_billed",
    ),
    "a mark taken away": damage(
        f"update vps_instances set last_billed_at = null where id = {INSTANCE}", "periods_beyond_last_billed"
    ),
    "a mark in the future": damage(
        f"update vps_instances set last_billed_at = clock_now() + interval '9 hours' where id = {INSTANCE}",
        "billed_into_the_future",
    ),
    "a wallet written past its ledger": damage(
        "update wallets set balance = balance + 1 where id = (select wallet_id from wallet_ledger_entries"
        f" where id = {ENTRY})",
        "wallets_unlike_their_ledger",
    ),
    "a refund that was deleted": damage(
        f"delete from payment_transactions where id = {REFUND}",
        "refunded_cycles_without_their_refund",
        "entries_unlike_their_transactions",
    ),
    "a refund of too much": damage(
        f"update payment_transactions set amount = amount + 1 where id = {REFUND}",
        "refunds_unlike_their_cycles",
        "entries_unlike_their_transactions",
    ),
    "a refund of nothing in particular": damage(
        f"update payment_transactions set provider_transaction_id = 'a word' where id = {REFUND}",
        "refunds_unlike_their_cycles",
        "refunded_cycles_without_their_refund",
    ),
    "a refund forgotten": damage(
        f"update vps_billing_cycles set status = 'billed' where id = {REFUNDED}",
        "refunds_unlike_their_cycles",
    ),
    "a refund that nobody decided": damage(
        f"update vps_billing_cycles set billing_correction_id = null where id = {REFUNDED}",
        "refunds_unlike_their_cycles",
    ),
    "a cycle called refunded": damage(
        f"update vps_billing_cycles set status = 'refunded' where id = {CYCLE}",
        "refunded_cycles_without_their_refund",
    ),
    "forgiven hours that were paid": damage(
        f"update vps_billing_cycles set payment_transaction_id = {DEBIT} where id = {FORGIVEN}",
        "write_offs_unlike_their_cycles",
    ),
    "forgiven hours that are gone": damage(
        f"delete from vps_billing_cycles where id = {FORGIVEN}",
        "write_offs_unlike_their_cycles",
    ),
    "forgiven hours that nobody decided on": damage(
        "delete from billing_corrections where id ="
        f" (select billing_correction_id from vps_billing_cycles where id = {FORGIVEN})",
        "write_offs_unlike_their_cycles",
    ),
    "a failure that was deleted": damage(
        f"delete from vps_billing_cycles where id = {FAILED}", "debts_without_their_failure"
    ),
    "a debt that was deleted": damage(
        f"delete from vps_debts where vps_billing_cycle_id = {FAILED}", "failures_without_their_debt"
    ),
    "a debt twice": damage(
        "insert into vps_debts (vps_instance_id, organization_id, reason, opened_at, vps_billing_cycle_id, settled_at)"
        " select vps_instance_id, organization_id, reason, opened_at, vps_billing_cycle_id, opened_at"
        f" from vps_debts where vps_billing_cycle_id = {FAILED}",
        "failures_without_their_debt",
    ),
    "another biller for the same hours": damage(
        "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start,"
        " billing_period_end, hourly_rate, total_amount, status) select vps_instance_id, organization_id,"
        " billing_period_start, billing_period_end, hourly_rate, total_amount, 'billed'"
        f" from vps_billing_cycles where id = {CYCLE}",
        "charged_by_another_too",
    ),
}
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
    """Let it happen once; what a test plants in it is rolled back."""
    dsn = database_server.create("history", template=migrated_template)
    with ThreadPoolExecutor() as outside_the_loop_of_the_tests:
        yield outside_the_loop_of_the_tests.submit(asyncio.run, live(dsn)).result()
    database_server.drop(databases.database_name(dsn))


@pytest.fixture
def database_url(history: History) -> str:
    return history.dsn


async def live(dsn: str) -> History:
    pool = await db.create_pool(dsn, service="tests")
    connection = await asyncpg.connect(dsn)
    billing = Billing(dsn, pool, connection)
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
    async with pool.acquire() as auditor:
        assert (await audit(auditor)).findings == []
    # The poor one's money has to end once more.
    await billing.pass_hours(4)
    second = await live_half(billing, poor, reference="second")
    await connection.close()
    await pool.close()
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
async def damaged(connection: asyncpg.Connection, wanted: Damage, run_id: int) -> AsyncIterator[None]:
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    # What no statement of a client can do, an administrator of the server can.
    for table in GUARDED:
        await connection.execute(f"alter table {table} disable trigger all")
    values = [run_id] if "$1" in wanted.statement else []
    assert (await connection.execute(wanted.statement, *values)).split()[-1] == "1"
    yield
    await transaction.rollback()


async def checks(connection: asyncpg.Connection, scope: Scope) -> set[str]:
    findings = await verify_snapshot(connection, scope)
    assert all(finding.key and finding.detail for finding in findings)
    return {finding.check for finding in findings if finding.severity is Severity.OWN}


async def since_last_audit(connection: asyncpg.Connection) -> Scope:
    base = await audits.last_clean(connection)
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


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_in_old_rows_is_found_by_a_full_audit(
    name: str, history: History, connection: asyncpg.Connection
) -> None:
    async with damaged(connection, DAMAGES[name], history.first_run):
        assert await checks(connection, Scope.everything()) >= DAMAGES[name].found_by
