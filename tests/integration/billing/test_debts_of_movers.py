"""A debt opens while its instance moves or its organization goes: one debt, its true owner's, never paid by nothing."""

import asyncio
from datetime import timedelta

import pytest

from support import fleet
from support.billing import Billing, another_session, in_the_way, kept_waiting
from support.waiting import sessions_waiting

MOVE = "update vps_instances set organization_id = $2 where id = $1"


async def test_a_debt_that_opens_while_its_instance_moves_is_the_new_organizations(billing: Billing) -> None:
    giver, taker = [await fleet.add_organization(billing.connection, balance="0") for _ in range(2)]
    instance = await billing.add_instance(giver, hours_due=2)
    async with in_the_way(billing.dsn, MOVE, instance, taker.id):
        await billing.run()
    await billing.run()
    (debt,) = await billing.connection.fetch("select * from vps_debts")
    assert (debt["organization_id"], debt["settled_at"]) == (taker.id, None)
    assert await billing.verify() == []


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_a_debt_that_opened_under_a_move_follows_its_instance(
    billing: Billing, *, isolation: str
) -> None:
    giver, taker = [await fleet.add_organization(billing.connection, balance="0") for _ in range(2)]
    instance = await billing.add_instance(giver, hours_due=2)
    async with another_session(billing.dsn) as session, session.transaction():
        await session.execute(f"set transaction isolation level {isolation}")
        await session.fetchval("select count(*) from vps_debts")
        await billing.run()
        await session.execute(MOVE, instance, taker.id)
    await billing.run()
    (debt,) = await billing.connection.fetch("select * from vps_debts")
    assert (debt["organization_id"], debt["settled_at"]) == (taker.id, None)
    assert await billing.verify() == []


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_a_debt_that_opened_while_its_organization_went_is_written_off(
    billing: Billing, *, isolation: str
) -> None:
    debtor = await fleet.add_organization(billing.connection, balance="0")
    await billing.add_instance(debtor, hours_due=2)
    async with another_session(billing.dsn) as session, session.transaction():
        await session.execute(f"set transaction isolation level {isolation}")
        await session.fetchval("select count(*) from vps_debts")
        await billing.run()
        await session.execute("delete from organizations where id = $1", debtor.id)
    await billing.run()
    (debt,) = await billing.connection.fetch("select * from vps_debts")
    assert debt["settled_at"] is None
    assert debt["written_off_at"] is not None
    assert await billing.verify() == []


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_a_debt_that_opened_while_its_organization_was_restored_is_written_off(
    billing: Billing, *, isolation: str
) -> None:
    debtor = await fleet.add_organization(billing.connection, balance="0")
    instance = await billing.add_instance(debtor, hours_due=2)
    await billing.connection.execute("delete from vps_instances where id = $1", instance)
    async with another_session(billing.dsn) as session, session.transaction():
        await session.execute(f"set transaction isolation level {isolation}")
        await session.fetchval("select count(*) from vps_debts")
        await billing.run()
        await fleet.delete_and_restore(session, debtor.id, "wallets")
    await billing.run()
    (debt,) = await billing.connection.fetch("select * from vps_debts")
    assert debt["settled_at"] is None
    assert debt["written_off_at"] is not None
    assert await billing.verify() == []


@pytest.mark.parametrize("gone", ["vps_instances", "organizations"])
async def test_a_debt_that_opened_while_its_instance_moved_and_went_is_its_last_owners(
    billing: Billing, *, gone: str
) -> None:
    giver, taker = [await fleet.add_organization(billing.connection, balance="0") for _ in range(2)]
    instance = await billing.add_instance(giver, hours_due=2)
    async with another_session(billing.dsn) as session, session.transaction(isolation="repeatable_read"):
        await session.fetchval("select count(*) from vps_debts")
        await billing.run()
        await session.execute(MOVE, instance, taker.id)
        await session.execute(
            f"delete from {gone} where id = $1", instance if gone == "vps_instances" else taker.id
        )
    await billing.run(batch_size=1)
    (debt,) = await billing.connection.fetch("select * from vps_debts")
    assert (debt["organization_id"], debt["settled_at"]) == (taker.id, None)
    assert (debt["written_off_at"] is not None) == (gone == "organizations")
    assert await billing.verify() == []


async def test_a_debt_whose_instance_moves_under_a_batch_is_not_settled(billing: Billing) -> None:
    giver, taker = [await fleet.add_organization(billing.connection, balance="0") for _ in range(2)]
    instance = await billing.add_instance(giver, hours_due=2)
    async with another_session(billing.dsn) as session:
        transaction = session.transaction(isolation="repeatable_read")
        await transaction.start()
        await session.fetchval("select count(*) from vps_debts")
        await billing.run()
        await session.execute(MOVE, instance, taker.id)
        # The batch has looked whose debt it is, and is about to charge.
        obstacle = "lock table charges_at_work in share row exclusive mode"
        async with kept_waiting(billing, billing.run(batch_size=1), obstacle):
            await transaction.commit()
    await billing.run(batch_size=1)
    (debt,) = await billing.connection.fetch("select * from vps_debts")
    assert (debt["organization_id"], debt["settled_at"]) == (taker.id, None)
    assert await billing.verify() == []


async def test_a_clock_set_back_by_seconds_settles_no_debt(billing: Billing) -> None:
    debtor = await fleet.add_organization(billing.connection, balance="0")
    await billing.pass_time(timedelta(seconds=40))
    instance = await billing.add_instance(debtor, hours_due=1)
    await billing.run()
    await billing.pass_time(timedelta(seconds=-40))
    await billing.run()
    assert list(await billing.open_debts()) == [instance]
    assert await billing.verify() == []


async def test_a_debt_of_an_instance_deleted_by_a_clock_set_back_by_seconds_is_paid(billing: Billing) -> None:
    debtor = await fleet.add_organization(billing.connection, balance="0")
    await billing.pass_time(timedelta(seconds=40))
    instance = await billing.add_instance(debtor, hours_due=1)
    await billing.connection.execute("delete from vps_instances where id = $1", instance)
    await billing.run()
    await billing.pass_time(timedelta(seconds=-40))
    await billing.run()
    await billing.pass_time(timedelta(seconds=40))
    await billing.credit(debtor, "1.00")
    await billing.run()
    assert await billing.open_debts() == {}
    assert await billing.hours_billed(instance) == 1
    assert await billing.verify() == []


async def test_an_hour_charged_before_the_clock_was_set_back_by_seconds_is_no_finding(
    billing: Billing,
) -> None:
    await billing.pass_time(timedelta(seconds=40))
    instance = await billing.bill_instance(hours_due=1)
    await billing.pass_time(timedelta(seconds=-40))
    await billing.connection.execute("delete from vps_instances where id = $1", instance)
    await billing.run()
    assert await billing.hours_billed(instance) == 1
    assert await billing.verify() == []


async def test_a_debt_that_another_biller_was_paid_moves_with_its_instance(billing: Billing) -> None:
    debtor, taker = [await fleet.add_organization(billing.connection, balance="0") for _ in range(2)]
    instance = await billing.add_instance(debtor, hours_due=2)
    await billing.run()
    async with another_session(billing.dsn) as session:
        await session.execute("set containerstacks.guard = 'off'")
        # It cuts times to milliseconds.
        await session.execute(
            "with charged as (update vps_instances"
            " set last_billed_at = date_trunc('milliseconds', created_at) + interval '2 hours'"
            " where id = $1 returning *)"
            " insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start,"
            " billing_period_end, hourly_rate, total_amount, status)"
            " select id, organization_id, last_billed_at - interval '2 hours', last_billed_at, 0.01, 0.02, 'billed'"
            " from charged",
            instance,
        )
        await session.execute(MOVE, instance, taker.id)
    await billing.run()
    assert await billing.open_debts() == {}
    assert await billing.verify() == []


async def test_a_deletion_waits_for_the_run_that_opens_the_debt(billing: Billing) -> None:
    debtor = await fleet.add_organization(billing.connection, balance="0")
    await billing.add_instance(debtor, hours_due=2)
    # The run has its rows locked, and is about to write the debt down.
    begun = kept_waiting(billing, billing.run(), "lock table vps_debts in share row exclusive mode")
    async with another_session(billing.dsn) as session:
        async with begun:
            deletion = asyncio.create_task(
                session.execute("delete from organizations where id = $1", debtor.id)
            )
            await sessions_waiting(billing.connection, 2)
        await deletion
    await billing.run()
    (debt,) = await billing.connection.fetch("select * from vps_debts")
    assert debt["settled_at"] is None
    assert debt["written_off_at"] is not None
    assert await billing.verify() == []
