"""Going back: everything of ours is taken out, and every row of the application's stays, those billed here included."""

from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from containerstacks_shared.billing import control
from containerstacks_shared.billing.archive import archive
from containerstacks_shared.billing.audit import audit
from containerstacks_shared.billing.credits import credit_wallet
from containerstacks_shared.billing.statement import Month
from containerstacks_shared.core.errors import DatabaseUnsuitable
from containerstacks_shared.schema import leave, migrate
from support import catalog
from support.billing import Billing
from support.clock import clock_now

from .conftest import Adopted


def test_leaving_takes_out_everything_that_adopting_added(adopted: Adopted) -> None:
    leave(adopted.dsn)
    after = catalog.everything(adopted.dsn)
    assert set(after) - set(adopted.objects_before) == set()
    # What docs/adoption.md names: money stays wide, history stays without foreign keys.
    gone = set(adopted.objects_before) - set(after)
    assert all(adopted.objects_before[name].startswith("FOREIGN KEY") for name in gone)
    changed = {name for name in after if after[name] != adopted.objects_before[name]}
    assert all(after[name].startswith("numeric(18,8)") for name in changed)
    assert catalog.rows(adopted.dsn) == adopted.rows_before


async def test_what_was_billed_here_stays(adopted: Adopted, billing: Billing) -> None:
    await control.resume(billing.connection, reason="agreed", author="alice")
    await billing.run()
    await billing.connection.execute(
        "insert into billing_daemon_status (daemon_instance_id, status, heartbeat_at, metadata)"
        """ values ('ours-1', 'running', now(), '{"biller": "daemon"}')"""
    )
    before = catalog.rows(adopted.dsn, like=adopted.rows_before)
    leave(adopted.dsn)
    after = catalog.rows(adopted.dsn)
    assert len(after["vps_billing_cycles"]) > len(adopted.rows_before["vps_billing_cycles"])
    # A beat of ours would keep the application's own billing paused.
    assert after.pop("billing_daemon_status") == adopted.rows_before["billing_daemon_status"]
    del before["billing_daemon_status"]
    assert after == before


async def test_what_was_archived_goes_back_to_where_the_application_looks_for_it(
    adopted: Adopted, billing: Billing
) -> None:
    await control.resume(billing.connection, reason="agreed", author="alice")
    await billing.run()
    await billing.pass_time(timedelta(days=40))
    async with billing.pool.acquire() as connection:
        assert (await audit(connection)).is_clean
    before = catalog.rows(adopted.dsn, like=adopted.rows_before)
    now = await clock_now(billing.connection)
    async with billing.pool.acquire() as connection:
        months = [month async for month in archive(connection, before=Month(now.year, now.month))]
    assert sum(month.cycles for month in months) > 0
    leave(adopted.dsn)
    after = catalog.rows(adopted.dsn, like=adopted.rows_before)
    for table in adopted.rows_before:
        # They are there again, if not in the same place.
        assert sorted(after[table], key=str) == sorted(before[table], key=str)


async def test_the_application_works_after_we_left(adopted: Adopted) -> None:
    leave(adopted.dsn)
    with psycopg.connect(adopted.dsn) as application:
        application.execute("update wallets set balance = balance - 1")
        application.execute("update vps_instances set status = 'running', plan_id = 'other'")
        application.execute("update vps_plans set base_price = base_price + 1")
        application.execute("delete from vps_plans")
        application.execute("truncate vps_instances cascade")
        application.execute("delete from users")


async def test_billing_resumes_where_it_stopped_after_returning(adopted: Adopted, billing: Billing) -> None:
    await control.resume(billing.connection, reason="agreed", author="alice")
    first = await billing.run()
    leave(adopted.dsn)
    assert migrate(adopted.dsn).kind == "adopted"
    await billing.pool.expire_connections()
    await control.resume(billing.connection, reason="agreed", author="alice")
    second = await billing.run()
    assert first.charged.hours_billed > 0
    assert second.charged.hours_billed == 0
    assert await billing.verify() == []


async def test_a_credit_is_made_once_also_across_leaving_and_coming_back(
    adopted: Adopted, billing: Billing
) -> None:
    organization = str(await billing.connection.fetchval("select id from organizations limit 1"))

    async def credit(author: str) -> bool:
        async with billing.pool.acquire() as connection:
            credit = await credit_wallet(
                connection, organization=organization, amount=Decimal(5), reference="payment-1", author=author
            )
        return credit.written

    assert await credit("alice")
    leave(adopted.dsn)
    migrate(adopted.dsn)
    await billing.pool.expire_connections()
    assert not await credit("bob")


def test_leaving_a_fresh_database_leaves_the_originals_tables(database_url: str) -> None:
    leave(database_url)
    assert "wallets" in catalog.tables(database_url)
    assert "wallet_ledger_entries" not in catalog.tables(database_url)
    assert not [name for name in catalog.everything(database_url) if "containerstacks" in name]


def test_leaving_works_where_an_upgrade_removed_some_objects(adopted: Adopted) -> None:
    with psycopg.connect(adopted.dsn) as application:
        application.execute("drop table billing_daemon_status, containers, container_plans")
        application.execute("drop trigger containerstacks_guard_mark on vps_instances")
        application.execute("alter table wallets disable trigger containerstacks_ledger")
        application.execute("alter table vps_instances drop column rate_region cascade")
    leave(adopted.dsn)
    after = catalog.everything(adopted.dsn)
    assert {name for name in set(after) - set(adopted.objects_before) if "containers" not in name} == set()


def test_leaving_twice_reports_that_nothing_is_left(database_url: str) -> None:
    leave(database_url)
    before = catalog.everything(database_url)
    with pytest.raises(DatabaseUnsuitable, match="nothing to take out"):
        leave(database_url)
    assert catalog.everything(database_url) == before


def test_a_leave_that_fails_midway_changes_nothing(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("create view of_the_operators_own as select * from billing_runs")
    before = catalog.everything(database_url), catalog.rows(database_url)
    with pytest.raises(DatabaseUnsuitable, match="nothing was changed: cannot drop"):
        leave(database_url)
    assert (catalog.everything(database_url), catalog.rows(database_url)) == before
