"""Any version of the application is adopted by what its database has, and may be upgraded under us."""

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest

from containerstacks_shared import schema
from containerstacks_shared.billing import control
from containerstacks_shared.billing.verify import verify
from containerstacks_shared.core.errors import ContainerStacksError, DatabaseUnsuitable
from containerstacks_shared.database import suitability
from containerstacks_shared.fleet.counts import read_platform_statistics
from support import catalog, fleet, roles, schema_a_data
from support.billing import Billing, billing_on
from support.fleet import Organization
from support.guard import assert_sound, beat, refusals
from support.original_biller import OriginalBiller, Version

# As the application's later steps do it.
EXPAND_PRECISION = """
alter table wallets alter column balance type numeric(12, 4) using round(balance, 4);
alter table payment_transactions alter column amount type numeric(12, 4) using round(amount, 4);
alter table vps_billing_cycles alter column total_amount type numeric(12, 4) using round(total_amount, 4)
"""
DAEMON_TABLE = """
create table if not exists billing_daemon_status (
    id serial primary key, daemon_instance_id varchar(255) not null unique, status varchar(50) not null);
create index idx_billing_daemon_status_heartbeat on billing_daemon_status (heartbeat_at)
"""
BACKUPS = """
alter table vps_instances add column backup_frequency varchar(20) default 'weekly'
    check (backup_frequency in ('daily', 'weekly', 'none'));
alter table vps_plans add column backup_price_hourly numeric(10, 6) default 0,
    add column backup_upcharge_hourly numeric(10, 6) default 0
"""


def execute(dsn: str, statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statements.encode())


@pytest.fixture
async def late(schema_b_url: str) -> AsyncIterator[Billing]:
    """Bill on a migrated database of the later version."""
    assert schema.migrate(schema_b_url).kind == "adopted"
    async with billing_on(schema_b_url) as billing:
        yield billing


async def test_the_version_before_the_daemon_is_adopted_and_may_still_get_its_table(
    before_the_daemon_url: str,
) -> None:
    assert schema.migrate(before_the_daemon_url).kind == "adopted"
    execute(before_the_daemon_url, DAEMON_TABLE)
    async with billing_on(before_the_daemon_url) as billing:
        await control.resume(billing.connection, reason="agreed", author="alice")
        await beat(billing.connection)
        await OriginalBiller(billing.dsn, Version.EARLY).run()
        assert await refusals(billing.connection) > 0
        await billing.run()
        assert [finding.check for finding in await billing.verify()] == []


async def test_the_later_version_is_adopted_without_containers(late: Billing) -> None:
    assert (await read_platform_statistics(late.connection)).containers.total == 0
    assert await verify(late.connection) == []


async def test_regions_that_the_later_version_links_with_plans_are_available(late: Billing) -> None:
    connection = late.connection
    named = await fleet.add_plan(connection, region="us-east")
    linked = await fleet.add_plan(connection, region=None)
    withdrawn = await fleet.add_plan(connection, region=None, active=False)
    await connection.executemany(
        "insert into vps_plan_regions (vps_plan_id, region_id) values ($1, $2)",
        [(named.id, "us-east"), (linked.id, "us-east"), (linked.id, "eu-west"), (withdrawn.id, "ap-south")],
    )
    assert (await read_platform_statistics(connection)).regions.total == 2


@pytest.mark.parametrize("state", ["adopted", "suspended"])
def test_leaving_takes_out_also_what_the_application_lacked(schema_b_url: str, state: str) -> None:
    before = catalog.everything(schema_b_url)
    schema.migrate(schema_b_url)
    if state == "suspended":
        schema.suspend(schema_b_url)
    schema.leave(schema_b_url)
    after = catalog.everything(schema_b_url)
    assert set(after) <= set(before)
    assert all(name.startswith("constraint ") for name in set(before) - set(after))


async def rates(billing: Billing, instance: UUID) -> list[tuple[Decimal, int]]:
    return [
        (row["hourly_rate"], row["hours"])
        for row in await billing.connection.fetch(
            "select hourly_rate,"
            " (extract(epoch from billing_period_end - billing_period_start) / 3600)::integer as hours"
            " from vps_billing_cycles where vps_instance_id = $1 order by billing_period_start",
            instance,
        )
    ]


async def test_backups_are_billed_and_dated_like_any_other_price(late: Billing) -> None:
    connection = late.connection
    plan = await fleet.add_plan(connection)
    await connection.execute(
        "update vps_plans set backup_price_hourly = 0.003, backup_upcharge_hourly = 0.001"
    )
    # Weekly is the column's default.
    instance = await fleet.add_instance(connection, plan=plan, hours_due=1)
    await late.run()
    await late.pass_hours(1)
    await connection.execute("update vps_instances set backup_frequency = 'none'")
    await late.pass_hours(1)
    await connection.execute("update vps_instances set backup_frequency = 'daily'")
    await late.pass_hours(1)
    await connection.execute("update vps_plans set backup_upcharge_hourly = 0.002")
    await late.pass_hours(2)
    await late.run()
    # An hour costs what was in force at its start, a second before each change.
    with_backups, without = Decimal("0.014"), Decimal("0.01")
    charged = [rate for rate, hours in await rates(late, instance) for _ in range(hours)]
    assert charged == [with_backups] * 3 + [without, with_backups, Decimal("0.015")]
    await assert_sound(late, hours={instance: 6})


@pytest.mark.parametrize("wallet_first", [True, False])
async def test_a_refund_explains_one_movement_of_its_amount(late: Billing, wallet_first: bool) -> None:
    connection = late.connection
    organization = await fleet.add_organization(connection)
    application = OriginalBiller(late.dsn, Version.LATE)
    await application.refund(organization.id, "3.21", wallet_first=wallet_first)
    await application.refund(organization.id, "3.21", wallet_first=wallet_first)
    # What a payment explains needs no refund, though it has the same amount.
    await application.top_up(organization.id, 3.21)
    assert await verify(connection) == []
    reasons = await connection.fetch("select reason, author from ledger_explanations")
    assert [row["author"] for row in reasons] == ["guard", "guard"]
    assert all(row["reason"].endswith(": too slow") for row in reasons)
    # Both are used up.
    await connection.execute("update wallets set balance = balance + 3.21")
    assert [finding.check for finding in await verify(connection)] == ["unexplained_entries"]


async def test_a_refund_into_several_wallets_explains_one(late: Billing) -> None:
    organization = await fleet.add_organization(late.connection)
    await fleet.add_wallet(late.connection, organization.id, balance="1")
    await OriginalBiller(late.dsn, Version.LATE).refund(organization.id, "5", wallet_first=True)
    (finding,) = await verify(late.connection)
    assert finding.check == "unexplained_entries"
    assert str(organization.wallet_id) not in finding.detail


async def test_restoring_or_changing_an_instance_cannot_change_the_region_of_its_rate(late: Billing) -> None:
    connection = late.connection
    await fleet.add_instance(connection)
    region = "select rate_region from vps_instances"
    await connection.execute("create temporary table kept as select * from vps_instances")
    for statement in (
        "update kept set rate_region = 'elsewhere'",
        "delete from vps_instances",
        "insert into vps_instances select * from kept",
        "update vps_instances set rate_region = 'elsewhere'",
    ):
        await connection.execute(statement)
    assert await connection.fetchval(region) == " +backups"
    await connection.execute("update vps_instances set backup_frequency = 'none'")
    assert await connection.fetchval(region) == ""


async def test_row_level_security_of_the_later_version_hinders_no_service(schema_b_url: str) -> None:
    schema.migrate(schema_b_url)
    roles.grant(schema_b_url)
    async with (
        billing_on(roles.as_role(schema_b_url, roles.BILLING_DAEMON)) as daemon,
        billing_on(schema_b_url) as owner,
    ):
        organization = await fleet.add_organization(owner.connection)
        plan = await fleet.add_plan(owner.connection)
        instance = await fleet.add_instance(owner.connection, organization, plan, hours_due=2)
        # A pooled session that the application used before.
        await daemon.connection.execute("select set_config('app.current_org_id', '', false)")
        summary = await daemon.run()
        assert summary.charged.hours_billed == 2
        assert await daemon.balance(organization.wallet_id) == Decimal("99.98")
        assert await owner.connection.fetchval("select count(*) from payment_transactions") == 1
        assert await daemon.connection.fetchval("select count(*) from payment_transactions") == 1
        await beat(owner.connection)
        await OriginalBiller(schema_b_url, Version.LATE).run()
        await assert_sound(owner, hours={instance: 2})


# Upgrades under us ------------------------------------------------------------------------------


def test_money_columns_cannot_be_narrowed_unnoticed(database_url: str) -> None:
    for statement in EXPAND_PRECISION.split(";"):
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="used in a trigger definition"):
            execute(database_url, statement)


async def billed(billing: Billing) -> tuple[UUID, Organization, Decimal | None]:
    """Bill seven hours of an instance at a price that no column of the application holds; return what was left."""
    organization = await fleet.add_organization(billing.connection)
    plan = await fleet.add_plan(billing.connection, base_price="4.00", markup_price="0")
    instance = await fleet.add_instance(billing.connection, organization, plan, hours_due=7)
    await billing.run()
    return instance, organization, await billing.balance(organization.wallet_id)


async def upgraded(billing: Billing, *, upgrade: Callable[[], None]) -> None:
    schema.suspend(billing.dsn)
    upgrade()
    schema.migrate(billing.dsn)
    await billing.pool.expire_connections()


async def test_an_upgrade_keeps_all_decimals(database_url: str) -> None:
    async with billing_on(database_url) as billing:
        instance, organization, balance = await billed(billing)

        def upgrade() -> None:
            execute(database_url, EXPAND_PRECISION + ";" + BACKUPS)
            # What one of its own steps takes from the wallets is not ours, and is reported.
            execute(database_url, "update wallets set balance = balance - 1")

        await upgraded(billing, upgrade=upgrade)
        assert balance is not None
        assert await billing.balance(organization.wallet_id) == balance - 1
        assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"]
        assert not (await control.read_control(billing.connection)).paused
        await billing.connection.execute("update vps_plans set backup_price_hourly = 0.001")
        await billing.pass_hours(1)
        await billing.run()
        assert await billing.hours_billed(instance) == 8
        assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"]


@pytest.mark.parametrize("taken", range(len(schema_a_data.steps_to_schema_b()) + 1))
async def test_a_database_between_two_versions_is_adopted_upgraded_and_left(
    empty_database_url: str, taken: int
) -> None:
    schema_a_data.build_between(empty_database_url, steps=taken)
    before = catalog.tables(empty_database_url)
    assert schema.migrate(empty_database_url).kind == "adopted"
    async with billing_on(empty_database_url) as billing:
        instance, organization, balance = await billed(billing)
        rest = schema_a_data.steps_to_schema_b()[taken:]
        await upgraded(billing, upgrade=lambda: schema_a_data.take_steps(empty_database_url, rest))
        assert await billing.balance(organization.wallet_id) == balance
        await billing.pass_hours(1)
        await billing.run()
        await assert_sound(billing, hours={instance: 8})
    schema.leave(empty_database_url)
    lacked = {"billing_daemon_status", "containers", "container_plans"}
    brought = {"refunds", "vps_plan_regions"}
    assert set(before) - lacked <= set(catalog.tables(empty_database_url)) <= set(before) | brought


async def test_a_run_refuses_a_changed_schema_until_it_is_migrated(database_url: str) -> None:
    async with billing_on(database_url) as billing:
        instance = await fleet.add_instance(billing.connection, hours_due=1)
        execute(database_url, BACKUPS)
        with pytest.raises(ContainerStacksError, match=r"vps_instances\.backup_frequency is new"):
            await billing.run()
        schema.migrate(database_url)
        await billing.pool.expire_connections()
        await billing.run()
        assert await billing.hours_billed(instance) == 1


def test_migrating_makes_again_what_an_upgrade_took_from_us(database_url: str) -> None:
    before = catalog.everything(database_url)
    execute(database_url, "drop table containers, container_plans")
    execute(database_url, "drop trigger containerstacks_guard_mark on vps_instances")
    execute(database_url, "drop trigger containerstacks_ledger on wallets")
    execute(database_url, "alter table payment_transactions disable trigger containerstacks_guard_inserted")
    execute(database_url, "alter table vps_instances drop column rate_region cascade")
    changes = "select application_changes()"
    with psycopg.connect(database_url) as connection:
        (change,) = connection.execute(changes).fetchone() or ("",)
    assert "containerstacks_guard_mark on vps_instances is gone" in change
    assert "containerstacks_guard_inserted on payment_transactions is disabled" in change
    schema.migrate(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute(changes).fetchone() == (None,)
    triggers = {name for name in before if name.startswith("trigger ") and "updated_at" not in name}
    assert triggers <= set(catalog.everything(database_url))


async def test_nothing_is_billed_while_suspended_and_an_earlier_pause_remains(database_url: str) -> None:
    async with billing_on(database_url) as billing:
        await control.pause(billing.connection, reason="inventory", author="alice")
        schema.suspend(database_url)
        paused = await control.read_control(billing.connection)
        assert (paused.paused, paused.changed_by) == (True, "migration")
        with pytest.raises(DatabaseUnsuitable, match="suspended already"):
            schema.suspend(database_url)
        with pytest.raises(DatabaseUnsuitable, match="trigger containerstacks_ledger on wallets is gone"):
            await suitability.assert_suitable(database_url, database_url, test_clock=False)
        schema.migrate(database_url)
        again = await control.read_control(billing.connection)
        assert (again.paused, again.reason, again.changed_by) == (True, "inventory", "alice")
