"""A database that the original application has lived in is adopted, and billed once by the written rule."""

import json
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from support import charges, roles
from support.billing_model import BEGINNING, BillingModel, Instance
from support.processes import Processes

Row = tuple[object, ...]
Rows = dict[str, dict[object, asyncpg.Record]]

TABLES = """
select table_name, array_agg(column_name::text order by ordinal_position) as columns
  from information_schema.columns
 where table_schema = 'public'
   and table_name in (select tablename from pg_tables where schemaname = 'public')
 group by table_name
"""
# What a billing run may change in rows that were there before; "touch" is the original's own trigger.
CHANGED_BY_BILLING = {"wallets": {"balance", "updated_at"}, "vps_instances": {"last_billed_at", "updated_at"}}


async def columns_of_tables(connection: asyncpg.Connection) -> dict[str, list[str]]:
    return {row["table_name"]: row["columns"] for row in await connection.fetch(TABLES)}


async def read_rows(connection: asyncpg.Connection, columns: dict[str, list[str]]) -> Rows:
    """Return every row of these tables, reduced to these columns, by primary key (the first column)."""
    rows: Rows = {}
    for table, names in columns.items():
        listed = ", ".join(f'"{name}"' for name in names)
        rows[table] = {row[0]: row for row in await connection.fetch(f"select {listed} from {table}")}
    return rows


def assert_kept(before: Rows, after: Rows, *, except_for: dict[str, set[str]]) -> None:
    for table, kept in before.items():
        for key, row in kept.items():
            assert key in after[table], f"{table} {key} is gone"
            ignored = except_for.get(table, set())
            for name, value in row.items():
                if name not in ignored:
                    assert after[table][key][name] == value, f"{table} {key}: {name}"


@pytest.mark.main_path
async def test_an_adopted_database_keeps_every_row_and_is_billed_by_the_rule(
    schema_a_url: str, processes: Processes
) -> None:
    connection = await asyncpg.connect(schema_a_url)
    columns = await columns_of_tables(connection)
    before = await read_rows(connection, columns)
    model = await model_of(connection)

    for _ in range(2):
        await processes.succeed("containerstacks", "migrate", database_url=schema_a_url)
        roles.grant(schema_a_url)
    migrated_rows = await read_rows(connection, columns)
    assert_kept(before, migrated_rows, except_for={})
    assert {table: len(rows) for table, rows in migrated_rows.items()} == {
        table: len(rows) for table, rows in before.items()
    }

    # Some are owed more than a day: nothing is charged before somebody has looked.
    paused = await processes.run("containerstacks-billing-daemon", "once", database_url=schema_a_url)
    assert paused.exit_code == 1
    assert "more than a day" in paused.output + paused.errors
    assert await charges.hours_billed(connection) == {}

    await processes.succeed(
        "containerstacks", "billing", "resume", "--reason", "looked at it", database_url=schema_a_url
    )
    for _ in range(2):
        await processes.bill_once(schema_a_url)

    model.run(await connection.fetchval("select clock_now()"))
    await assert_charged_like(connection, model)
    assert_kept(before, await read_rows(connection, columns), except_for=CHANGED_BY_BILLING)
    await processes.find_no_damage(schema_a_url)
    await connection.close()


async def test_the_later_version_is_adopted(schema_b_url: str, processes: Processes) -> None:
    await processes.succeed("containerstacks", "migrate", database_url=schema_b_url)
    roles.grant(schema_b_url)
    await processes.bill_once(schema_b_url)
    connection = await asyncpg.connect(schema_b_url)
    # The single run was there for the guard, and left no heartbeat behind.
    assert await connection.fetch("select from billing_daemon_status") == []
    await connection.close()


async def assert_charged_like(connection: asyncpg.Connection, model: BillingModel) -> None:
    hours: dict[UUID, int] = {}
    amounts: dict[UUID, Decimal] = {}
    for hour in model.charged:
        hours[hour.instance] = hours.get(hour.instance, 0) + 1
        amounts[hour.instance] = amounts.get(hour.instance, Decimal(0)) + hour.rate
    assert await charges.hours_billed(connection) == hours
    billed = await connection.fetch(
        "select vps_instance_id, sum(total_amount) as amount, min(billing_period_start) as since"
        " from vps_billing_cycles where billing_run_id is not null and status = 'billed' group by vps_instance_id"
    )
    assert {row["vps_instance_id"]: row["amount"] for row in billed} == amounts
    first_hours = {hour.instance: hour.start for hour in reversed(model.charged)}
    assert {row["vps_instance_id"]: row["since"] for row in billed} == first_hours
    assert amounts
    assert model.in_debt
    for organization, expected in model.wallets.items():
        assert await paying_balance(connection, organization) == expected
    in_debt = await connection.fetch("select vps_instance_id from vps_debts where settled_at is null")
    assert {row["vps_instance_id"] for row in in_debt} == model.in_debt


async def paying_balance(connection: asyncpg.Connection, organization: UUID) -> Decimal:
    """Return what is in the oldest USD wallet; the original allows NULL for nothing."""
    balance: Decimal = await connection.fetchval(
        "select coalesce(balance, 0) from wallets where organization_id = $1 and currency = 'USD'"
        " order by created_at limit 1",
        organization,
    )
    return balance


async def model_of(connection: asyncpg.Connection) -> BillingModel:
    """Read the original's rows into the plain model of the rule."""
    model = BillingModel()
    plans = await connection.fetch("select * from vps_plans order by created_at, id")
    for row in await connection.fetch("select * from vps_instances"):
        region = region_of(row["configuration"])
        reference = f"{row['plan_id']} in {region}"
        plan = matching_plan(plans, row["plan_id"], region)
        history = model.plans[reference]
        if plan is None:
            history.gone(BEGINNING)
        elif not history.prices:
            history.priced(BEGINNING, plan["base_price"], plan["markup_price"])
        start: datetime = row["last_billed_at"] or row["created_at"]
        model.instances[row["id"]] = Instance(
            row["id"], row["organization_id"], row["created_at"], start, [(BEGINNING, reference)]
        )
    for organization in await connection.fetch(
        "select distinct organization_id from wallets where currency = 'USD'"
    ):
        identifier = organization["organization_id"]
        model.wallets[identifier] = await paying_balance(connection, identifier)
    return model


def region_of(configuration: str | None) -> str | None:
    document = json.loads(configuration) if configuration else None
    return document.get("region") if isinstance(document, dict) else None


def matching_plan(plans: list[asyncpg.Record], reference: str, region: str | None) -> asyncpg.Record | None:
    """Find by the plan's own id, then by the provider's in the instance's region, then by the provider's alone."""
    of_provider = [plan for plan in plans if plan["provider_plan_id"] == reference]
    choices = [
        *(plan for plan in plans if str(plan["id"]) == reference),
        *(plan for plan in of_provider if json.loads(plan["specifications"]).get("region") == region),
        *(plan for plan in of_provider if plan["active"]),
    ]
    return next(iter(choices), None)
