"""deploy/postgres/roles.sql: what each service may do in the database, and what it is refused."""

import importlib.util
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import psycopg
import pytest
from psycopg import sql

from containerstacks_shared.alerts.watching import Watch
from containerstacks_shared.billing import audit, control
from containerstacks_shared.billing.documents import Biller, RunStatus
from containerstacks_shared.core.settings import CommonSettings, load_settings
from containerstacks_shared.database import db
from containerstacks_shared.local.embedded.binaries import FOLDERS, PACKAGE
from containerstacks_shared.schema import leave, migrate
from support import fleet, roles
from support.billing import Billing, another_session
from support.databases import DatabaseServer, server_version

OpenPool = Callable[[str], AbstractAsyncContextManager[db.Pool]]

# What a service may write, by table; of some only the columns that follow.
BILLS: Final = {"billing_runs", "billing_audits", "billing_daemon_status", "price_holds"}
ALERTS: Final = {"alerts", "outbox_messages", "alert_looks"}
WRITES: Final = {
    roles.WEB: {
        *(BILLS | ALERTS),
        *("leaderships", "billing_control", "web_sessions", "incidents", "incident_updates"),
        *("users", "user_api_keys"),
    },
    roles.BILLING_DAEMON: {*(BILLS | ALERTS), "leaderships"},
    roles.STATS_AGGREGATOR: {
        *ALERTS,
        *("leaderships", "counts", "count_deltas", "vps_history", "component_states", "component_history"),
    },
}
# Not money, and numbers with decimals all the same.
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
async def test_what_a_service_has_no_business_with_is_refused(database_url: str, role: str) -> None:
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


async def test_the_aggregator_can_read_no_amount_of_money(connection: asyncpg.Connection) -> None:
    seen = [row[0] for row in await connection.fetch(READABLE_NUMBERS, roles.STATS_AGGREGATOR, NO_MONEY)]
    assert seen == []
    assert await connection.fetch(READABLE_NUMBERS, roles.WEB, NO_MONEY)


async def test_functions_with_their_owners_rights_are_for_whom_they_are_named(
    connection: asyncpg.Connection,
) -> None:
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
        | {"find_api_key", "list_api_keys", "revoke_api_key", "note_api_key_uses", "log_action"},
        roles.BILLING_DAEMON: bills,
        roles.STATS_AGGREGATOR: {"hold_base_tables"},
    }
    for role, names in allowed.items():
        found = {row[0] for row in await connection.fetch(FUNCTIONS_WITH_RIGHTS, role)}
        assert found == names | {"end_stuck_sessions"}, role
    # Anybody else on this server.
    assert await connection.fetch(FUNCTIONS_WITH_RIGHTS, "pg_monitor") == []


# What works -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "biller"), [(roles.WEB, Biller.BUILTIN), (roles.BILLING_DAEMON, Biller.DAEMON)]
)
async def test_a_biller_charges_under_its_role_and_the_ledger_says_which(
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
    organization = await fleet.add_organization(connection)
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection), hours_due=3)
    async with open_pool(roles.BILLING_DAEMON) as pool:
        await Billing(roles.as_role(database_url, roles.BILLING_DAEMON), pool, connection).run()
        async with pool.acquire() as session:
            for full in (True, False):
                assert (await audit.audit(session, full=full)).is_clean


@pytest.mark.parametrize(("role", "sees_money"), [(roles.WEB, True), (roles.STATS_AGGREGATOR, False)])
async def test_a_process_looks_for_what_is_wrong_under_its_role(
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
        assert await Watch(pool, settings, receivers=["x"], sees_money=sees_money).look()
    opened = {
        row["kind"]: row["summary"] for row in await connection.fetch("select kind, summary from alerts")
    }
    assert opened.keys() == {"nobody_bills", "billing_paused", "price_held", "counts_behind"}
    assert "987" not in opened["price_held"].replace(plan.provider_plan_id, "").replace(str(plan.id), "")


# The door to the money --------------------------------------------------------------------------


async def begin_run(session: asyncpg.Connection) -> int:
    run: int = await session.fetchval(
        "insert into billing_runs (biller, trigger, holder, term) values ('builtin', 'once', 'me', 0) returning id"
    )
    return run


CHARGE: Final = "select hours_billed, amount_billed from charge_organizations($1, $2, $3)"


async def charge(session: asyncpg.Connection, organization: UUID, moment: str = "now()") -> int:
    until = await session.fetchval(f"select {moment}")
    row = await session.fetchrow(CHARGE, [organization], until, await begin_run(session))
    assert row is not None
    hours: int = row["hours_billed"]
    return hours


async def test_whoever_got_into_web_can_charge_what_is_due_once_and_nothing_else(
    database_url: str, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection)
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection), hours_due=3)
    web = await asyncpg.connect(roles.as_role(database_url, roles.WEB))
    for moment in ("now() + interval '1 second'", "'infinity'::timestamptz"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="not past yet"):
            await charge(web, organization.id, moment)
    # A clock of its own is no help.
    await web.execute("set containerstacks.clock_offset = '1000 hours'")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="not past yet"):
        await charge(web, organization.id, "clock_now()")
    # Nor are functions and tables of its own in front of ours.
    await web.execute("create function pg_temp.rate_region(text, text) returns text language sql return 'x'")
    await web.execute("create temporary table hourly_rates as select 1000::numeric as hourly_rate")
    await web.execute("set search_path = pg_temp, public")
    assert [await charge(web, organization.id) for _ in range(3)] == [3, 0, 0]
    await web.close()
    balance = await connection.fetchval("select balance from wallets where id = $1", organization.wallet_id)
    assert balance == 100 - 3 * await connection.fetchval("select max(hourly_rate) from hourly_rates")


# The script -------------------------------------------------------------------------------------


def run_psql(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    package = importlib.util.find_spec(PACKAGE)
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / FOLDERS[server_version()] / "bin" / "psql"
    return subprocess.run(
        [program, "-v", "ON_ERROR_STOP=1", *arguments, dsn],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_running_it_again_takes_back_what_is_not_in_it(
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


async def test_a_fresh_database_is_set_up_as_documented(
    empty_database_url: str, migrated_template: str
) -> None:
    assert migrated_template
    first = run_psql(empty_database_url, "-f", str(roles.SCRIPT))
    assert first.returncode == 0, first.stderr
    assert "Run `containerstacks migrate` as the owner" in first.stderr
    owner_url = roles.as_role(empty_database_url, roles.OWNER)
    assert migrate(owner_url).kind == "created"
    second = run_psql(empty_database_url, "-f", str(roles.SCRIPT))
    assert (second.returncode, second.stderr) == (0, "")
    # From then on the owner may: after the next release's migration, for instance.
    third = run_psql(owner_url, "-f", str(roles.SCRIPT))
    assert (third.returncode, third.stderr) == (0, "")

    owner = await asyncpg.connect(owner_url)
    web_url = roles.as_role(empty_database_url, roles.WEB)
    web = await asyncpg.connect(web_url)
    organization = await fleet.add_organization(owner)
    await fleet.add_instance(owner, organization, await fleet.add_plan(owner), hours_due=2)
    assert await charge(web, organization.id) == 2
    # The owner sees what the services' sessions do, and may end one.
    pid = web.get_server_pid()
    assert (
        await owner.fetchval("select query from pg_stat_activity where pid = $1", pid)
        != "<insufficient privilege>"
    )
    assert await owner.fetchval("select pg_terminate_backend($1)", pid)
    web.terminate()
    await owner.close()


async def test_beside_the_original_application_its_role_owns_and_does_what_it_did(
    database_server: DatabaseServer, schema_a_url: str
) -> None:
    panel = "panel_of_the_tests"
    panel_url = roles.as_role(schema_a_url, panel)
    with psycopg.connect(schema_a_url, autocommit=True) as superuser:
        superuser.execute(
            sql.SQL("create role {} login password {}").format(sql.Identifier(panel), roles.PASSWORD)
        )
        # As it was before PostgreSQL 15: everybody may make tables.
        superuser.execute("grant create on schema public to public")
        relations = superuser.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
        ).fetchall()
        for (name,) in relations:
            superuser.execute(
                sql.SQL("alter table {} owner to {}").format(sql.Identifier(name), sql.Identifier(panel))
            )
        functions = superuser.execute(
            "select p.oid::regprocedure::text from pg_proc p"
            " left join pg_depend d on d.objid = p.oid and d.deptype = 'e'"
            " where p.pronamespace = 'public'::regnamespace and d.objid is null"
        ).fetchall()
        for (name,) in functions:
            superuser.execute(
                sql.SQL("alter function {} owner to {}").format(sql.SQL(name), sql.Identifier(panel))
            )
        assert migrate(panel_url).kind == "adopted"
        roles.grant(schema_a_url)
        superuser.execute("update billing_control set paused = false")
    application = await asyncpg.connect(panel_url)
    await application.execute("create table of_the_application ()")
    organization = await fleet.add_organization(application)
    instance = await fleet.add_instance(application, organization, "some-plan", hours_due=2)
    await application.execute("update wallets set balance = 50 where id = $1", organization.wallet_id)
    daemon_url = roles.as_role(schema_a_url, roles.BILLING_DAEMON)
    pool = await db.create_pool(daemon_url, service="tests")
    billing = Billing(daemon_url, pool, application)
    assert (await billing.run()).status is RunStatus.SUCCEEDED
    assert await billing.hours_billed(instance) == 2
    entries = await billing.entries(organization.wallet_id)
    assert [(entry["kind"], entry["written_by"]) for entry in entries] == [
        ("opening", panel),
        ("unexplained", panel),
        ("charge", roles.BILLING_DAEMON),
    ]
    pool.terminate()
    with psycopg.connect(daemon_url) as daemon, pytest.raises(psycopg.errors.InsufficientPrivilege):
        daemon.execute("create table public.mine ()")
    await application.close()
    leave(panel_url)
    with psycopg.connect(schema_a_url, autocommit=True) as superuser:
        superuser.execute("drop owned by {}, {}, {}".format(*roles.ROLE_OF.values()).encode())
        granted = "select count(*) from pg_class where relacl::text like '%containerstacks_%'"
        assert superuser.execute(granted).fetchone() == (0,)
    database_server.drop(schema_a_url.rpartition("/")[2])
    with psycopg.connect(database_server.dsn, autocommit=True) as superuser:
        superuser.execute(sql.SQL("drop role {}").format(sql.Identifier(panel)))
