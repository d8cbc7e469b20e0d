"""Concurrent writers during a run: no write of theirs is lost, and no charge of ours is doubled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from containerstacks_shared.billing import run as billing_run
from containerstacks_shared.database import db
from support import fleet
from support.billing import Billing, another_session, in_the_way, kept_waiting
from support.fleet import Organization
from support.waiting import becomes, session_waiting_for, time_limit

# The first thing that a run reads after it began, and nothing else in it waits for this table.
LOCK_WORK = "lock table deleted_vps_instances in access exclusive mode"
LOCK_WALLET = "select from wallets where id = $1 for update"
LOCK_INSTANCE = "select from vps_instances where id = $1 for update"
TOP_UP = "update wallets set balance = balance + 10 where id = $1"


async def run_into(billing: Billing, statement: str, *values: object) -> None:
    """Bill while somebody has run `statement` and commits it only when the run waits for that."""
    async with kept_waiting(billing, billing.run(), statement, *values):
        pass


async def test_a_top_up_during_a_run_survives(billing: Billing) -> None:
    await billing.add_instance(hours_due=2)
    await run_into(billing, TOP_UP, billing.organization.wallet_id)
    assert await billing.balance() == Decimal("109.98")
    assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"]


async def test_a_top_up_during_a_run_pays_what_the_wallet_did_not_cover(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.add_instance(poor, hours_due=2)
    await run_into(billing, TOP_UP, poor.wallet_id)
    assert await billing.hours_billed(instance) == 2
    assert await billing.open_debts() == {}


async def test_a_balance_written_as_an_absolute_value_during_a_run_is_charged_from(billing: Billing) -> None:
    await billing.add_instance(hours_due=2)
    await run_into(billing, "update wallets set balance = 50 where id = $1", billing.organization.wallet_id)
    assert await billing.balance() == Decimal("49.98")


async def test_a_wallet_taken_away_during_a_run_leaves_a_debt(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)
    await run_into(billing, "delete from wallets where id = $1", billing.organization.wallet_id)
    assert await billing.hours_billed(instance) == 0
    assert (await billing.open_debts())[instance]["reason"] == "no_wallet"


async def test_a_first_wallet_that_appears_while_a_batch_waits_for_another_one_is_charged_in_step(
    billing: Billing,
) -> None:
    walletless = await fleet.add_organization(billing.connection, balance=None)
    await billing.add_instance(hours_due=2)
    instance = await billing.add_instance(walletless, hours_due=2)
    async with (
        time_limit("the run did not end"),
        asyncio.TaskGroup() as group,
        in_the_way(billing.dsn, LOCK_INSTANCE, instance) as second,
    ):
        async with in_the_way(billing.dsn, LOCK_WALLET, billing.organization.wallet_id) as first:
            group.create_task(billing.run())
            await session_waiting_for(billing.connection, first.get_server_pid())
            await billing.credit(walletless, "10.00")
        await session_waiting_for(billing.connection, second.get_server_pid())
        await billing.credit(walletless, "5.00", reference="payment-2")
    assert await billing.hours_billed(instance) == 2
    assert await fleet.balance_of(billing.connection, walletless) == Decimal("14.98")
    assert await billing.verify() == []


async def test_hours_that_another_biller_took_during_a_run_are_not_charged_again(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=5)
    taken = "update vps_instances set last_billed_at = created_at + interval '4 hours' where id = $1"
    await run_into(billing, taken, instance)
    assert await billing.hours_billed(instance) == 1
    assert await billing.balance() == Decimal("99.99")
    assert await billing.verify() == []


async def test_a_status_change_during_a_run_is_kept_and_the_instance_is_billed(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=1)
    await run_into(billing, "update vps_instances set status = 'error' where id = $1", instance)
    assert await billing.hours_billed(instance) == 1
    status = await billing.connection.fetchval("select status from vps_instances where id = $1", instance)
    assert status == "error"


async def test_an_instance_deleted_during_a_run_is_billed_once_from_its_tombstone(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=3)
    await run_into(billing, "delete from vps_instances where id = $1", instance)
    await billing.run()
    assert await billing.hours_billed(instance) == 3
    assert await billing.verify() == []


async def test_a_deletion_that_waited_for_a_run_owes_nothing(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=3)
    async with (
        another_session(billing.dsn) as application,
        asyncio.TaskGroup() as group,
        charged_but_not_committed(billing) as run_pid,
    ):
        group.create_task(application.execute("delete from vps_instances where id = $1", instance))
        await session_waiting_for(billing.connection, run_pid)
    owed = await billing.connection.fetchval(
        "select hours_owed from deleted_vps_instances where id = $1", instance
    )
    assert owed == 0
    await billing.run()
    assert await billing.hours_billed(instance) == 3
    assert await billing.verify() == []


async def test_a_batch_killed_after_its_last_write_leaves_nothing_behind(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=3)
    async with charged_but_not_committed(billing) as run_pid:
        await billing.connection.execute("select pg_terminate_backend($1, 5000)", run_pid)
    for table in ("vps_billing_cycles", "payment_transactions", "last_charged_prices"):
        assert await billing.connection.fetchval(f"select count(*) from {table}") == 0
    assert [entry["kind"] for entry in await billing.entries(billing.organization.wallet_id)] == ["opening"]
    assert await billing.balance() == Decimal(100)
    await billing.run()
    assert await billing.hours_billed(instance) == 3
    assert await billing.verify() == []


@contextlib.asynccontextmanager
async def charged_but_not_committed(billing: Billing) -> AsyncIterator[int]:
    """A run that has written every row of its first batch; gives the pid of the session that did."""
    async with time_limit("the run did not end"), another_session(billing.dsn) as second:
        async with in_the_way(billing.dsn, LOCK_WORK) as first:
            run = asyncio.create_task(billing.run())
            await session_waiting_for(billing.connection, first.get_server_pid())
            # It begins on its own row, and counts up on it when all else is done.
            await second.execute("begin")
            await second.execute("select from billing_runs where status = 'running' for update")
        yield await session_waiting_for(billing.connection, second.get_server_pid())
        await second.execute("commit")
        with contextlib.suppress(*db.UNAVAILABLE):
            await run


async def test_an_organization_that_is_locked_for_a_while_is_billed_last(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billing_run, "_LOCK_WAIT_MAX", "700ms")
    organizations = [await fleet.add_organization(billing.connection) for _ in range(3)]
    organizations.sort(key=lambda organization: organization.id.bytes)
    locked, _, last = organizations
    for organization in organizations:
        await billing.add_instance(organization, hours_due=1)
    async with (
        time_limit("the run did not end"),
        asyncio.TaskGroup() as group,
        in_the_way(billing.dsn, LOCK_WALLET, locked.wallet_id) as obstacle,
    ):
        # Its own batch is given up after a while; the others' go on.
        run = group.create_task(billing.run(batch_size=1, concurrency=1))
        await becomes(lambda: billing.balance(last.wallet_id), Decimal("99.99"))
        await session_waiting_for(billing.connection, obstacle.get_server_pid())
    assert (run.result().status, run.result().charged.instances_billed) == ("succeeded", 3)
    assert await billing.verify() == []


async def test_an_organization_that_stays_locked_is_reported_and_stops_no_other(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billing_run, "_LOCK_WAIT_MAX", "50ms")
    organizations = [await fleet.add_organization(billing.connection) for _ in range(4)]
    for organization in organizations:
        await billing.add_instance(organization, hours_due=1)
    locked = organizations[1]
    async with in_the_way(billing.dsn, LOCK_WALLET, locked.wallet_id):
        summary = await billing.run()
    assert (summary.status, summary.charged.instances_billed) == ("failed", 3)
    (problem,) = summary.problems
    assert problem["problem"] == "organization_failed"
    assert str(locked.id) in str(problem["error"])
    run = await billing.last_run()
    assert str(locked.id) in run["error_message"]
    assert run["problems"] == [problem]
    assert (await billing.run()).charged.instances_billed == 1


async def test_an_organization_that_cannot_be_billed_stops_no_other(billing: Billing) -> None:
    broken = await fleet.add_organization(billing.connection)
    await billing.add_instance(hours_due=1)
    await billing.add_instance(broken, hours_due=1)
    await billing.connection.execute(
        f"alter table vps_billing_cycles add constraint none_of_these check (organization_id <> '{broken.id}')"
    )
    summary = await billing.run()
    assert (summary.status, summary.charged.instances_billed) == ("failed", 1)
    assert str(broken.id) in str(summary.error_message)
    assert await billing.balance(broken.wallet_id) == Decimal(100)


async def test_an_organization_that_takes_too_long_stops_no_other(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = await fleet.add_organization(billing.connection)
    await billing.add_instance(hours_due=1)
    await billing.add_instance(slow, hours_due=1, label="slow")
    await billing.connection.execute(
        "create function take_long() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(60); return new; end $$;"
        "create trigger take_long before insert on payment_transactions for each row"
        " when (new.description like '%slow%') execute function take_long()"
    )
    monkeypatch.setattr("containerstacks_shared.billing.run._BATCH_SECONDS", 1.0)
    summary = await billing.run()
    assert (summary.status, summary.charged.instances_billed) == ("failed", 1)
    assert str(slow.id) in str(summary.error_message)
    assert await billing.balance(slow.wallet_id) == Decimal(100)
