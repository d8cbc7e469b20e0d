"""Hours forgiven: on record, without money, and the chain goes on behind them."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest

from containerstacks_shared.billing import refunds, write_offs
from containerstacks_shared.billing.write_offs import WriteOff
from containerstacks_shared.core.errors import BillingBusy, ContainerStacksError, NotFound
from support import fleet
from support.billing import Billing, in_the_way, kept_waiting
from support.fleet import Organization
from support.waiting import sessions_waiting, time_limit

OPERATOR = {"reason": "the customer left in good faith", "author": "ada"}
NOTHING = WriteOff(instances=0, hours=0, amount=Decimal(0), debts_closed=0)


@pytest.fixture
async def poor(connection: asyncpg.Connection) -> Organization:
    return await fleet.add_organization(connection, balance="0.004")


async def forgive(billing: Billing, organization: Organization) -> WriteOff:
    return await write_offs.write_off_organization(billing.connection, str(organization.id), **OPERATOR)


async def test_forgiven_hours_are_marked_cycles_without_a_payment(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    entries = await billing.entries(poor.wallet_id)
    assert await forgive(billing, poor) == WriteOff(1, 3, Decimal("0.03"), debts_closed=1)
    assert await billing.balance(poor.wallet_id) == Decimal("0.004")
    assert await billing.entries(poor.wallet_id) == entries
    assert await billing.connection.fetchval("select count(*) from payment_transactions") == 0
    (cycle,) = await billing.cycles(instance, status="refunded")
    correction = await billing.connection.fetchrow("select * from billing_corrections")
    assert correction is not None
    assert (correction["kind"], correction["organization_id"]) == ("write_off", poor.id)
    assert {"author": correction["author"], "reason": correction["reason"]} == OPERATOR
    assert (cycle["billing_run_id"], cycle["payment_transaction_id"]) == (None, None)
    assert cycle["billing_correction_id"] == correction["id"]
    assert (cycle["hourly_rate"], cycle["total_amount"]) == (Decimal("0.01"), Decimal("0.03"))
    assert (cycle["metadata"]["hours_charged"], cycle["metadata"]["reason"]) == (3, "written_off")
    assert await billing.open_debts() == {}
    debt = await billing.connection.fetchrow("select * from vps_debts")
    assert debt is not None
    assert debt["written_off_at"] is not None
    assert debt["settled_at"] is None
    assert debt["billing_correction_id"] == correction["id"]
    assert await billing.verify() == []


async def test_billing_continues_where_the_forgiven_hours_end(billing: Billing, poor: Organization) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    await forgive(billing, poor)
    await billing.credit(poor, "1")
    await billing.run()
    assert await billing.hours_billed(instance) == 0
    await billing.pass_hours(2)
    await billing.run()
    (forgiven,) = await billing.cycles(instance, status="refunded")
    (billed,) = await billing.cycles(instance)
    assert billed["billing_period_start"] == forgiven["billing_period_end"]
    assert await billing.balance(poor.wallet_id) == Decimal("0.984")
    assert await billing.verify() == []


async def test_a_new_debt_can_open_after_an_old_one_was_forgiven(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    await forgive(billing, poor)
    await billing.pass_hours(1)
    await billing.run()
    assert set(await billing.open_debts()) == {instance}
    assert len(await billing.cycles(instance, status="failed")) == 2
    await billing.credit(poor, "1")
    await billing.run()
    assert await billing.open_debts() == {}
    assert await billing.verify() == []


async def test_hours_are_forgiven_at_the_rates_they_would_have_cost(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.add_instance(poor, hours_due=2)
    await billing.connection.execute("update vps_plans set base_price = 12.30 where id = $1", billing.plan.id)
    await billing.pass_hours(3)
    await billing.run()
    assert await forgive(billing, poor) == WriteOff(1, 5, Decimal("0.07"), debts_closed=1)
    # The third hour began a second before the new price.
    dear_and_cheap = await billing.cycles(instance, status="refunded")
    assert [cycle["hourly_rate"] for cycle in dear_and_cheap] == [Decimal("0.01"), Decimal("0.02")]
    assert await billing.verify() == []


async def test_one_instance_alone_can_be_forgiven(billing: Billing, poor: Organization) -> None:
    forgiven = await billing.add_instance(poor, hours_due=3)
    kept = await billing.bill_instance(poor, hours_due=3)
    done = await write_offs.write_off_instance(billing.connection, forgiven, **OPERATOR)
    assert done == WriteOff(1, 3, Decimal("0.03"), debts_closed=1)
    assert set(await billing.open_debts()) == {kept}
    assert await billing.connection.fetchval("select vps_instance_id from billing_corrections") == forgiven
    await billing.credit(poor, "1")
    await billing.run()
    assert (await billing.hours_billed(forgiven), await billing.hours_billed(kept)) == (0, 3)
    assert await billing.verify() == []


async def test_an_organization_without_a_wallet_can_be_forgiven(billing: Billing) -> None:
    walletless = await fleet.add_organization(billing.connection, balance=None)
    await billing.bill_instance(walletless, hours_due=3)
    assert (await forgive(billing, walletless)).hours == 3
    assert await billing.open_debts() == {}
    assert await billing.verify() == []


async def test_the_last_hours_of_a_deleted_instance_can_be_forgiven(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    await billing.connection.execute("delete from vps_instances")
    assert (await write_offs.write_off_instance(billing.connection, instance, **OPERATOR)).hours == 3
    assert await billing.connection.fetchval("select hours_owed from deleted_vps_instances") == 0
    assert await billing.open_debts() == {}
    assert await billing.verify() == []


async def test_hours_that_the_wallet_pays_for_are_billed_and_not_forgiven(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    await billing.credit(poor, "0.01")
    before = await billing.everything()
    with pytest.raises(BillingBusy, match="pays for 1 of these hours"):
        await forgive(billing, poor)
    assert await billing.everything() == before
    await billing.run()
    assert (await forgive(billing, poor)).hours == 2
    assert await billing.hours_billed(instance) == 1
    assert await billing.verify() == []


async def test_without_owed_hours_nothing_is_written_off(billing: Billing, poor: Organization) -> None:
    await billing.add_instance(poor)
    assert await forgive(billing, poor) == NOTHING
    await billing.add_instance(poor, hours_due=2)
    await forgive(billing, poor)
    assert await forgive(billing, poor) == NOTHING
    assert await billing.connection.fetchval("select count(*) from billing_corrections") == 1


async def test_hours_held_because_of_their_price_are_not_forgiven(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    await billing.connection.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate) values ($1, 'far too dear', 9)",
        billing.plan.id,
    )
    assert await forgive(billing, poor) == NOTHING
    assert set(await billing.open_debts()) == {instance}


async def test_write_offs_at_the_same_time_forgive_each_hour_once(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)

    async def of_organization() -> WriteOff:
        async with billing.pool.acquire() as session:
            return await write_offs.write_off_organization(session, str(poor.id), **OPERATOR)

    async def of_instance() -> WriteOff:
        async with billing.pool.acquire() as session:
            return await write_offs.write_off_instance(session, instance, **OPERATOR)

    async with (
        time_limit("the write-offs did not end"),
        asyncio.TaskGroup() as group,
        in_the_way(billing.dsn, "select from wallets where id = $1 for update", poor.wallet_id),
    ):
        tasks = [group.create_task(forgiving()) for forgiving in (of_organization, of_instance) * 2]
        await sessions_waiting(billing.connection, 4)
    assert sorted(task.result().hours for task in tasks) == [0, 0, 0, 3]
    assert await billing.verify() == []


async def test_a_run_and_a_write_off_at_the_same_time_cover_each_hour_once(billing: Billing) -> None:
    walletless = await fleet.add_organization(billing.connection, balance=None)
    for _ in range(3):
        await billing.add_instance(walletless, hours_due=3)

    async def forgive_in_a_session() -> WriteOff:
        async with billing.pool.acquire() as session:
            return await write_offs.write_off_organization(session, str(walletless.id), **OPERATOR)

    fence = "select from leaderships where role = 'billing_run' for update"
    async with (
        time_limit("somebody waits for ever"),
        asyncio.TaskGroup() as group,
        in_the_way(billing.dsn, fence),
    ):
        forgiving = group.create_task(forgive_in_a_session())
        group.create_task(billing.run())
        await sessions_waiting(billing.connection, 2)
    assert forgiving.result().hours == 9
    assert await billing.open_debts() == {}
    assert await billing.verify() == []


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_hours_of_a_moving_instance_are_not_forgiven_for_its_former_owner(
    billing: Billing, poor: Organization, *, is_deleted: bool
) -> None:
    other = await fleet.add_organization(billing.connection)
    instance = await billing.add_instance(poor, hours_due=3)
    if is_deleted:
        await billing.connection.execute("delete from vps_instances")
    table = "deleted_vps_instances" if is_deleted else "vps_instances"
    move = f"update {table} set organization_id = $2 where id = $1"
    async with billing.pool.acquire() as session:
        forgiving = write_offs.write_off_organization(session, str(poor.id), **OPERATOR)
        async with kept_waiting(billing, forgiving, move, instance, other.id) as task:
            pass
    assert task.result() == NOTHING
    await billing.run()
    assert await billing.balance(other.wallet_id) == Decimal("99.97")
    assert await billing.verify() == []


async def test_hours_of_a_moving_instance_are_forgiven_for_its_new_owner(
    billing: Billing, poor: Organization
) -> None:
    other = await fleet.add_organization(billing.connection, balance="0")
    instance = await billing.add_instance(poor, hours_due=3)
    move = "update vps_instances set organization_id = $2 where id = $1"
    async with billing.pool.acquire() as session:
        forgiving = write_offs.write_off_instance(session, instance, **OPERATOR)
        async with kept_waiting(billing, forgiving, move, instance, other.id) as task:
            pass
    assert task.result().hours == 3
    (cycle,) = await billing.cycles(instance, status="refunded")
    assert cycle["organization_id"] == other.id
    assert await billing.verify() == []


async def test_forgiven_hours_cannot_be_refunded(billing: Billing, poor: Organization) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    await forgive(billing, poor)
    (cycle,) = await billing.cycles(instance, status="refunded")
    with pytest.raises(ContainerStacksError, match="was written off"):
        await refunds.refund_cycle(billing.connection, cycle["id"], reason="r", author="a")


async def test_the_unknown_are_named(connection: asyncpg.Connection) -> None:
    unknown = uuid4()
    with pytest.raises(NotFound, match=f"no VPS instance {unknown}"):
        await write_offs.write_off_instance(connection, unknown, **OPERATOR)
    with pytest.raises(NotFound, match="no organization"):
        await write_offs.write_off_organization(connection, "nobody", **OPERATOR)


async def test_the_database_itself_refuses_to_bill_forgiven_hours(
    billing: Billing, poor: Organization
) -> None:
    instance = await billing.bill_instance(poor, hours_due=3)
    await forgive(billing, poor)
    await billing.credit(poor, "1")
    # By hand, past the guard that keeps marks.
    await billing.connection.execute("set containerstacks.guard = 'off'")
    await billing.connection.execute(
        "update vps_instances set last_billed_at = null where id = $1 and last_billed_at - created_at = $2",
        instance,
        timedelta(hours=3),
    )
    assert {"problem": "mark_set_back", "count": 1} in (await billing.run()).problems
    assert await billing.hours_billed(instance) == 0
    assert await billing.balance(poor.wallet_id) == Decimal("1.004")
