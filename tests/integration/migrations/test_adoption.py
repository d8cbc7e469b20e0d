"""Adopting the original's database in place: nothing is lost or changed, and billing starts on request."""

import secrets
from decimal import Decimal

import asyncpg
import psycopg
import pytest

from containerstacks_shared.billing import control
from containerstacks_shared.billing.forecast import dry_run
from containerstacks_shared.core.errors import BillingPaused
from containerstacks_shared.schema import migrate
from support import catalog
from support.billing import Billing
from support.original_application import session_of_its_role

from .conftest import MONEY, Adopted


def one(dsn: str, query: str) -> tuple[object, ...]:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


# What it leaves as it is ------------------------------------------------------------------------


def test_every_row_is_still_there_unchanged(adopted: Adopted) -> None:
    assert adopted.migration.kind == "adopted"
    after = catalog.rows(adopted.dsn, like=adopted.rows_before)
    assert sum(map(len, after.values())) > 1000
    for table, rows in adopted.rows_before.items():
        assert after[table] == rows, table


def test_only_money_columns_change_and_history_loses_its_foreign_keys(adopted: Adopted) -> None:
    after = catalog.everything(adopted.dsn)
    changed = {name for name, kind in adopted.objects_before.items() if name in after and after[name] != kind}
    assert changed == MONEY
    assert all(after[name].startswith("numeric(18,8)") for name in MONEY)
    gone = {name for name in adopted.objects_before if name not in after}
    assert {name.rpartition(".")[0] for name in gone} == {
        "constraint payment_transactions",
        "constraint vps_billing_cycles",
    }
    assert all(adopted.objects_before[name].startswith("FOREIGN KEY") for name in gone)


def test_what_it_adds_to_the_originals_tables_is_named_as_ours(adopted: Adopted) -> None:
    added = set(catalog.everything(adopted.dsn)) - set(adopted.objects_before)
    triggers = {name.rpartition(".")[2] for name in added if name.startswith("trigger ")}
    on_original = {
        name for name in triggers if any(f"trigger {table}.{name}" in added for table in adopted.rows_before)
    }
    assert on_original
    assert all(name.startswith("containerstacks_") for name in on_original)


@pytest.mark.parametrize("times", [1, 2])
def test_adopting_again_changes_nothing(adopted: Adopted, times: int) -> None:
    before = catalog.everything(adopted.dsn), catalog.rows(adopted.dsn)
    for _ in range(times):
        assert migrate(adopted.dsn).kind == "current"
    assert (catalog.everything(adopted.dsn), catalog.rows(adopted.dsn)) == before


def test_regions_longer_than_an_index_takes_are_adopted(schema_a_url: str) -> None:
    with psycopg.connect(schema_a_url) as connection:
        connection.execute(
            "update vps_instances set configuration = jsonb_build_object('region', %s::text)"
            " where label = 'database'",
            (secrets.token_hex(1900),),
        )
        connection.execute(
            "update vps_plans set specifications = jsonb_build_object('region_id', %s::text)",
            (secrets.token_hex(4800),),
        )
    assert migrate(schema_a_url).kind == "adopted"
    assert one(schema_a_url, "select sum(amount) from vps_counts_now") == (25,)


# What it takes over -----------------------------------------------------------------------------


def test_the_all_time_totals_begin_with_what_is_there(adopted: Adopted) -> None:
    with psycopg.connect(adopted.dsn) as connection:
        totals: dict[str, int] = dict(connection.execute("select metric, amount from totals_now").fetchall())
    assert totals == {
        f"{table}_total": len(adopted.rows_before[table])
        for table in ("users", "organizations", "vps_instances", "containers", "support_tickets")
        if adopted.rows_before[table] or table == "containers"
    }


def test_the_fleet_is_counted(adopted: Adopted) -> None:
    assert one(adopted.dsn, "select sum(amount) from vps_counts_now") == (25,)
    missing = (
        "select count(*) from (select coalesce(status, '') as status, plan_id,"
        " configured_region(configuration) as region, count(*) as amount from vps_instances group by 1, 2, 3"
        " except select * from vps_counts_now) as wrong"
    )
    assert one(adopted.dsn, missing) == (0,)


def test_every_balance_is_entered_in_the_ledger_once(adopted: Adopted) -> None:
    with psycopg.connect(adopted.dsn) as connection:
        entries = connection.execute(
            "select wallet_id, kind, amount, balance_after from wallet_ledger_entries"
        ).fetchall()
    wallets = {row["id"]: row["balance"] for row in adopted.rows_before["wallets"] if row["balance"]}
    assert {wallet: amount for wallet, _, amount, _ in entries} == wallets
    assert all(kind == "opening" and amount == balance for _, kind, amount, balance in entries)


async def test_an_adopted_database_passes_the_audit(billing: Billing) -> None:
    assert await billing.verify() == []


def test_a_database_whose_application_never_billed_gets_the_column_for_it(schema_a_url: str) -> None:
    with psycopg.connect(schema_a_url) as connection:
        connection.execute("alter table vps_instances drop column last_billed_at")
    assert migrate(schema_a_url).kind == "adopted"
    assert one(schema_a_url, "select count(*) from vps_instances where last_billed_at is null") == (25,)


# Billing starts on request ----------------------------------------------------------------------


async def test_billing_starts_paused_with_the_reason_and_the_sum(adopted: Adopted, billing: Billing) -> None:
    paused = await control.read_control(billing.connection)
    # poor-1 is 30 hours behind and nobody-pays 60.
    assert paused.reason == "2 instances are owed more than a day of hours (the longest: 60 hours)"
    assert (paused.paused, paused.changed_by) == (True, "migration")
    forecasts = await dry_run(billing.connection)
    assert paused.amount_owed == sum(forecast.amount_owed for forecast in forecasts)
    payable = sum(forecast.amount_payable for forecast in forecasts)
    # Not all that is owed: some wallets are empty, or missing.
    assert payable < paused.amount_owed
    assert paused.amount_payable == payable
    said = adopted.migration.billing_paused_reason
    assert said is not None
    assert said.startswith(paused.reason)
    assert f"resuming would charge {payable} USD of the {paused.amount_owed} USD" in said
    with pytest.raises(BillingPaused, match="by migration: 2 instances are owed"):
        await billing.run()


def test_a_backlog_of_a_day_does_not_pause_billing(schema_a_url: str) -> None:
    with psycopg.connect(schema_a_url) as connection:
        connection.execute(
            "update vps_instances set last_billed_at = now() - interval '24 hours 59 minutes'"
            " where last_billed_at < now() - interval '24 hours'"
        )
    assert migrate(schema_a_url).billing_paused_reason is None
    assert one(schema_a_url, "select paused, amount_owed from billing_control") == (False, None)


def test_an_instance_that_was_never_billed_counts_from_its_creation(schema_a_url: str) -> None:
    with psycopg.connect(schema_a_url) as connection:
        connection.execute(
            "update vps_instances set last_billed_at = now() where last_billed_at < now() - interval '24 hours'"
        )
        connection.execute(
            "update vps_instances set created_at = now() - interval '40 days' where label = 'never-billed'"
        )
    reason = migrate(schema_a_url).billing_paused_reason
    assert reason is not None
    assert "the longest: 960 hours" in reason


@pytest.mark.parametrize("moment", ["-infinity", "infinity"])
def test_an_impossible_moment_does_not_stop_an_adoption(schema_a_url: str, moment: str) -> None:
    with psycopg.connect(schema_a_url) as connection:
        connection.execute(
            "update vps_instances set last_billed_at = %s::timestamptz where label = 'new'", (moment,)
        )
    assert migrate(schema_a_url).kind == "adopted"


# The application goes on ------------------------------------------------------------------------


async def test_the_applications_own_role_is_counted_priced_and_entered(
    adopted: Adopted, billing: Billing
) -> None:
    async with session_of_its_role(adopted.dsn) as application:
        organization = await application.fetchval("select id from organizations where slug = 'idle'")
        plan = await application.fetchval(
            "insert into vps_plans (name, provider_plan_id, base_price) values ('New', 'g9', 7.30) returning id::text"
        )
        await application.execute("update vps_plans set markup_price = 7.30 where id::text = $1", plan)
        instance = await application.fetchval(
            "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, configuration)"
            " values ($1, $2, '1', 'from-the-panel', '{\"region\": \"us-east\"}') returning id",
            organization,
            plan,
        )
        await application.execute("update vps_instances set status = 'running' where id = $1", instance)
        await application.execute("update vps_instances set plan_id = 'g6-nanode-1' where id = $1", instance)
        await application.execute(
            "update wallets set balance = 12.50 where organization_id = $1", organization
        )
        await application.execute("delete from vps_instances where id = $1", instance)
        await application.execute("update support_tickets set status = 'closed'")
        role = await application.fetchval("select session_user")
    connection = billing.connection
    assert (
        await connection.fetchval("select amount from totals_now where metric = 'vps_instances_total'") == 26
    )
    assert await connection.fetchval("select sum(amount) from vps_counts_now") == 25
    assert (
        await connection.fetchval(
            "select count(*) from vps_plan_changes where vps_instance_id = $1", instance
        )
        == 1
    )
    tombstone = await connection.fetchrow("select label, plan_id from deleted_vps_instances")
    assert tombstone is not None
    assert tuple(tombstone) == ("from-the-panel", "g6-nanode-1")
    rate = await connection.fetchval(
        "select hourly_rate from hourly_rates where plan_id = $1 and effective_to = 'infinity'", plan
    )
    assert rate == Decimal("0.02")
    entry = await connection.fetchrow("select * from wallet_ledger_entries order by id desc limit 1")
    assert entry is not None
    assert (entry["kind"], entry["amount"], entry["written_by"]) == ("unexplained", Decimal("12.5"), role)


async def test_the_applications_own_hourly_run_still_works(adopted: Adopted) -> None:
    async with session_of_its_role(adopted.dsn) as application:
        await application.execute(
            "with moved as ("
            "  update wallets set balance = round(249.96, 2)"
            "   where organization_id = (select id from organizations where slug = 'steady')"
            "), paid as ("
            "  insert into payment_transactions (organization_id, amount, payment_method, payment_provider, status,"
            "                                    description, metadata)"
            "  select organization_id, -0.04, 'wallet_debit', 'internal', 'completed',"
            "         'VPS Hourly Billing - database (1h)', '{}' from vps_instances where label = 'database'"
            "  returning id"
            ") insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start,"
            "   billing_period_end, hourly_rate, total_amount, status, payment_transaction_id, metadata)"
            " select i.id, organization_id, last_billed_at, last_billed_at + interval '1 hour', 0.0400, 0.04, 'billed',"
            "        paid.id, '{}' from vps_instances i, paid where label = 'database'"
        )
        moved = await application.execute(
            "update vps_instances set last_billed_at = last_billed_at + interval '1 hour' where label = 'database'"
        )
    assert moved == "UPDATE 1"


async def test_history_now_outlives_what_it_describes(adopted: Adopted, billing: Billing) -> None:
    cycles = len(adopted.rows_before["vps_billing_cycles"])
    async with session_of_its_role(adopted.dsn) as application:
        await application.execute("delete from organizations where slug = 'steady'")
    assert await billing.connection.fetchval("select count(*) from vps_billing_cycles") == cycles
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        # The other foreign keys are still the application's.
        await billing.connection.execute(
            "insert into wallets (organization_id) values ('00000000-0000-0000-0000-000000000000')"
        )
