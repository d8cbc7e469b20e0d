"""deploy/postgres/roles.sql: what each service may do in the database, and what it is refused."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import asyncpg
import pytest

from containerstacks_shared.alerts.watching import Watch
from containerstacks_shared.billing import audit, control
from containerstacks_shared.billing.documents import Biller, RunStatus
from containerstacks_shared.core.settings import CommonSettings, load_settings
from containerstacks_shared.database import db
from support import fleet, roles
from support.billing import Billing, another_session

OpenPool = Callable[[str], AbstractAsyncContextManager[db.Pool]]

# What a service may write, by table; of some only the columns that follow.
BILLS: Final = {"billing_runs", "billing_audits", "billing_daemon_status", "price_holds"}
ALERTS: Final = {"alerts", "outbox_messages", "alert_checks"}
WRITES: Final = {
    roles.WEB: {
        *(BILLS | ALERTS),
        *("leaderships", "billing_control", "web_sessions", "incidents", "incident_updates"),
        "incident_templates",
        *("users", "user_api_keys"),
    },
    roles.BILLING_DAEMON: {*(BILLS | ALERTS), "leaderships"},
    roles.STATS_AGGREGATOR: {
        *ALERTS,
        *("leaderships", "counts", "count_deltas", "vps_history", "component_states", "component_history"),
    },
}
# Decimal numbers that are not money.
NO_MONEY: Final = {"vcpus", "memory_mb", "disk_mb", "total_hours"}

MOVES_OF_MONEY: Final = [
    "update wallets set balance = balance + 1",
    "insert into wallets (organization_id, balance) values (gen_random_uuid(), 1)",
    "delete from wallets",
    "truncate wallets",
    (
        "insert into wallet_ledger_entries (wallet_id, organization_id, kind, amount, balance_after)"
        " values (gen_random_uuid(), gen_random_uuid(), 'credit', 1, 1)"
    ),
    "update payment_transactions set amount = 0",
    (
        "insert into payment_transactions (organization_id, amount, payment_method, payment_provider)"
        " values (gen_random_uuid(), 1, 'wallet_credit', 'internal')"
    ),
    "update vps_billing_cycles set status = 'refunded'",
    "delete from vps_billing_cycles",
    "update vps_instances set last_billed_at = now()",
    "update deleted_vps_instances set last_billed_at = now()",
    "update vps_debts set written_off_at = now()",
    "insert into billing_corrections (kind, reason, author) values ('refund', 'none', 'nobody')",
    "update hourly_rates set hourly_rate = 1000",
    "update last_charged_prices set hourly_rate = 1000",
    "update vps_plans set base_price = 0",
    (
        "insert into vps_plan_changes (vps_instance_id, plan_id_before, region_before)"
        " values (gen_random_uuid(), 'dear', '')"
    ),
    "alter table wallet_ledger_entries disable trigger wallet_ledger_append_only",
]
REFUSED: Final = {
    roles.WEB: [
        *MOVES_OF_MONEY,
        "update users set role = 'admin'",
        "insert into users (email, password_hash, name) values ('a@example.com', 'x', 'A')",
        "select key_hash from user_api_keys",
        "update user_api_keys set active = true",
        "select api_key_encrypted from service_providers",
        "select ip_address from vps_instances",
        "select message from support_tickets",
        "update counts set amount = 0",
        "set role containerstacks_billing_daemon",
        "create table public.mine ()",
        "create function public.rate_region(varchar, varchar) returns text language sql return 'mine'",
    ],
    roles.BILLING_DAEMON: [
        *MOVES_OF_MONEY,
        "select email from users",
        "select password_hash from users",
        "select from web_sessions",
        "select key_hash from user_api_keys",
        "select * from find_api_key('hash')",
        "select revoke_api_key(gen_random_uuid())",
        "select api_key_encrypted from service_providers",
        "update billing_control set paused = false",
        "update price_holds set released_by = 'me'",
        "update counts set amount = 0",
        "create table public.mine ()",
    ],
    roles.STATS_AGGREGATOR: [
        *MOVES_OF_MONEY,
        "select balance from wallets",
        "select amount from payment_transactions",
        "select total_amount from vps_billing_cycles",
        "select amount from wallet_ledger_entries",
        "select hourly_rate from hourly_rates",
        "select base_price from vps_plans",
        "select amount_billed from billing_runs",
        "select total_amount from billing_daemon_status",
        "select amount_owed from billing_control",
        "select findings from billing_audits",
        "select reason from price_holds",
        "select from vps_debts",
        "select * from charge_organizations('{}', now(), 1)",
        "select register_rates('{x}', '{}')",
        "select email from users",
        "select password_hash from users",
        "select name from organizations",
        "select label from vps_instances",
        "select from web_sessions",
        "select * from list_api_keys()",
        "insert into billing_runs (biller, trigger, holder, term) values ('daemon', 'once', 'me', 1)",
        "update billing_control set paused = true, reason = 'mine'",
        (
            "insert into incidents (kind, title, impact, status, components)"
            " values ('incident', 'x', 'none', 'investigating', '{vps}')"
        ),
        "create table public.mine ()",
    ],
}
WRITABLE_TABLES: Final = """
select c.relname
  from pg_class c
 where c.relnamespace = 'public'::regnamespace
   and c.relkind in ('r', 'p', 'v')
   and (has_table_privilege($1, c.oid, 'insert, update, delete, truncate, trigger')
        or has_any_column_privilege($1, c.oid, 'insert, update'))
"""
READABLE_NUMBERS: Final = """
select c.relname || '.' || a.attname
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid
 where c.relnamespace = 'public'::regnamespace
   and c.relkind in ('r', 'p', 'v')
   and a.atttypid = 'numeric'::regtype
   and a.attname <> all ($2::text[])
   and has_column_privilege($1, c.oid, a.attnum, 'select')
"""
FUNCTIONS_WITH_RIGHTS: Final = """
select p.proname
  from pg_proc p
 where p.pronamespace = 'public'::regnamespace
   and p.prosecdef
   and p.prorettype <> 'trigger'::regtype
   and has_function_privilege($1, p.oid, 'execute')
"""


@pytest.fixture
def open_pool(database_url: str) -> OpenPool:
    """Open a pool as a role."""

    @asynccontextmanager
    async def open_one(role: str) -> AsyncIterator[db.Pool]:
        pool = await db.create_pool(roles.as_role(database_url, role), service="tests")
        yield pool
        pool.terminate()

    return open_one


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", REFUSED)
async def test_a_service_is_refused_what_it_does_not_need(database_url: str, role: str) -> None:
    session = await asyncpg.connect(roles.as_role(database_url, role))
    done = []
    for statement in REFUSED[role]:
        try:
            await session.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        done.append(statement)
    await session.close()
    assert done == []


@pytest.mark.parametrize("role", WRITES)
async def test_a_service_writes_its_own_tables_and_no_other(
    connection: asyncpg.Connection, role: str
) -> None:
    assert {row[0] for row in await connection.fetch(WRITABLE_TABLES, role)} == WRITES[role]


async def test_the_aggregator_cannot_read_amounts_of_money(connection: asyncpg.Connection) -> None:
    seen = [row[0] for row in await connection.fetch(READABLE_NUMBERS, roles.STATS_AGGREGATOR, NO_MONEY)]
    assert seen == []
    assert await connection.fetch(READABLE_NUMBERS, roles.WEB, NO_MONEY)


async def test_security_definer_functions_are_granted_as_documented(connection: asyncpg.Connection) -> None:
    bills = {
        "charge_organizations",
        "register_rates",
        "heal_rates",
        "correct_held_rates",
        "withdraw_future_moments",
        "compare_moved_marks",
        "notice_marks_set_back",
        "give_back_lost_debits",
    }
    allowed = {
        roles.WEB: bills
        | {"credit_wallet", "refund_cycles", "write_off_hours"}
        | {
            "find_api_key",
            "list_api_keys",
            "api_key_marks",
            "revoke_api_key",
            "note_api_key_uses",
            "log_action",
            "available_regions",
        },
        roles.BILLING_DAEMON: bills,
        roles.STATS_AGGREGATOR: {"hold_base_tables"},
    }
    for role, names in allowed.items():
        found = {row[0] for row in await connection.fetch(FUNCTIONS_WITH_RIGHTS, role)}
        assert found == names | {"end_stuck_sessions", "stuck_session"}, role
    # Any other role of this server.
    assert await connection.fetch(FUNCTIONS_WITH_RIGHTS, "pg_monitor") == []


# What works -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "biller"), [(roles.WEB, Biller.BUILTIN), (roles.BILLING_DAEMON, Biller.DAEMON)]
)
async def test_the_ledger_names_the_role_that_charged(
    database_url: str, connection: asyncpg.Connection, open_pool: OpenPool, role: str, biller: Biller
) -> None:
    organization = await fleet.add_organization(connection)
    poor = await fleet.add_organization(connection, balance="0.01")
    plan = await fleet.add_plan(connection)
    for owner in (organization, poor):
        await fleet.add_instance(connection, owner, plan, hours_due=3)
    deleted = await fleet.add_instance(connection, organization, plan, hours_due=2)
    await connection.execute("delete from vps_instances where id = $1", deleted)
    async with open_pool(role) as pool:
        billing = Billing(roles.as_role(database_url, role), pool, connection)
        run = await billing.run(biller=biller)
        assert (run.status, run.charged.hours_billed) == (RunStatus.SUCCEEDED, 6)
        await connection.execute("update vps_plans set base_price = 7300 where id = $1", plan.id)
        await billing.pass_hours(2)
        held = await billing.run(biller=biller)
        assert held.charged.instances_held == 2
        await connection.execute("update vps_plans set base_price = 8 where id = $1", plan.id)
        await billing.pass_hours(1)
        assert (await billing.run(biller=biller)).charged.instances_held == 0
    assert await billing.verify() == []
    entries = await connection.fetch(
        "select distinct written_by from wallet_ledger_entries where kind = 'charge'"
    )
    assert [entry["written_by"] for entry in entries] == [role]


async def test_the_daemon_audits_under_its_role(
    open_pool: OpenPool, connection: asyncpg.Connection, database_url: str
) -> None:
    await fleet.add_instance(connection, hours_due=3)
    async with open_pool(roles.BILLING_DAEMON) as pool:
        await Billing(roles.as_role(database_url, roles.BILLING_DAEMON), pool, connection).run()
        async with pool.acquire() as session:
            for full in (True, False):
                assert (await audit.audit(session, full=full)).is_clean


@pytest.mark.parametrize(("role", "sees_money"), [(roles.WEB, True), (roles.STATS_AGGREGATOR, False)])
async def test_conditions_are_checked_under_the_role_of_the_process(
    database_url: str, connection: asyncpg.Connection, open_pool: OpenPool, role: str, sees_money: bool
) -> None:
    plan = await fleet.add_plan(connection)
    await control.pause(connection, reason="prices change", author="ada")
    await connection.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate) values ($1, 'too dear', 987)",
        plan.id,
    )
    settings = load_settings(
        CommonSettings, database_url=database_url, alert_delay_minutes=0, alert_pause_minutes=0
    )
    async with open_pool(role) as pool:
        assert await Watch(pool, settings, receivers=["x"], sees_money=sees_money).check()
    opened = {
        row["kind"]: row["summary"] for row in await connection.fetch("select kind, summary from alerts")
    }
    assert opened.keys() == {"nobody_bills", "billing_paused", "price_held", "counts_behind"}
    assert "987" not in opened["price_held"].replace(plan.provider_plan_id, "").replace(str(plan.id), "")


# The door to the money --------------------------------------------------------------------------


async def test_the_role_of_web_can_only_charge_due_hours_once(
    database_url: str, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection)
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection), hours_due=3)
    web = await asyncpg.connect(roles.as_role(database_url, roles.WEB))
    for moment in ("now() + interval '1 second'", "'infinity'::timestamptz"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="not past yet"):
            await roles.charge(web, organization.id, moment)
    # A clock of its own is no help.
    await web.execute("set containerstacks.clock_offset = '1000 hours'")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="not past yet"):
        await roles.charge(web, organization.id, "clock_now()")
    # Nor are functions and tables of its own in front of ours.
    await web.execute("create function pg_temp.rate_region(text, text) returns text language sql return 'x'")
    await web.execute("create temporary table hourly_rates as select 1000::numeric as hourly_rate")
    await web.execute("set search_path = pg_temp, public")
    assert [await roles.charge(web, organization.id) for _ in range(3)] == [3, 0, 0]
    await web.close()
    balance = await connection.fetchval("select balance from wallets where id = $1", organization.wallet_id)
    assert balance == 100 - 3 * await connection.fetchval("select max(hourly_rate) from hourly_rates")


async def test_the_aggregator_delivers_alerts_and_sees_no_notice_of_a_debt(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into outbox_messages (topic, subject_id, event, receiver, payload)"
        " values ('alert', 1, 'opened', 'x', '{}'), ('debt', 1, 'debt_overdue', 'x', '{\"amountOwed\": 26}')"
    )
    seen = "select topic from outbox_messages order by id"
    for role, topics in (
        (roles.STATS_AGGREGATOR, ["alert"]),
        (roles.WEB, ["alert", "debt"]),
        (roles.BILLING_DAEMON, ["alert", "debt"]),
    ):
        async with another_session(roles.as_role(database_url, role)) as session:
            assert [row["topic"] for row in await session.fetch(seen)] == topics


# The script -------------------------------------------------------------------------------------


async def test_running_it_again_revokes_other_grants(
    database_url: str, connection: asyncpg.Connection
) -> None:
    granted = (
        "select relname, relacl::text from pg_class where relnamespace = 'public'::regnamespace order by 1"
    )
    before = await connection.fetch(granted)
    await connection.execute(f"grant update on wallets to {roles.WEB}")
    await connection.execute(f"grant select (balance) on wallets to {roles.STATS_AGGREGATOR}")
    roles.grant(database_url)
    assert await connection.fetch(granted) == before
    assert await connection.fetch(READABLE_NUMBERS, roles.STATS_AGGREGATOR, NO_MONEY) == []
