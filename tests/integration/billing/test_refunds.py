"""Money back: a movement of its own, once per cycle, and its hours stay covered."""

import asyncio
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest

from containerstacks_shared.billing import refunds
from containerstacks_shared.billing.refunds import Refund
from containerstacks_shared.core.errors import BillingBusy, ContainerStacksError, NotFound
from support import fleet
from support.billing import Billing, another_session, in_the_way
from support.fleet import Organization
from support.waiting import sessions_waiting, time_limit

OPERATOR = {"reason": "the machine was down", "author": "ada"}


async def only_cycle(connection: asyncpg.Connection) -> UUID:
    identifier: UUID = await connection.fetchval("select id from vps_billing_cycles")
    return identifier


async def test_a_refunded_cycle_gives_its_money_back_and_deletes_nothing(billing: Billing) -> None:
    instance = await billing.add_instance(label="web-1", hours_due=3)
    await billing.run()
    cycle = await only_cycle(billing.connection)
    refund = await refunds.refund_cycle(billing.connection, cycle, **OPERATOR)
    assert refund == Refund(cycles=1, hours=3, amount=Decimal("0.03"))
    assert await billing.balance() == Decimal(100)
    debit, credit = await billing.connection.fetch("select * from payment_transactions order by amount")
    assert (debit["amount"], credit["amount"]) == (Decimal("-0.03"), Decimal("0.03"))
    assert debit["status"] == credit["status"] == "completed"
    assert (credit["payment_method"], credit["provider_transaction_id"]) == ("wallet_refund", str(cycle))
    assert credit["description"] == "Refund of VPS Hourly Billing - web-1 (3h)"
    correction = await billing.connection.fetchrow("select * from billing_corrections")
    assert correction is not None
    assert (correction["kind"], correction["reason"], correction["author"]) == (
        "refund",
        "the machine was down",
        "ada",
    )
    assert credit["metadata"] == {
        "balance_before": 99.97,
        "balance_after": 100,
        "refunded_transaction_id": str(debit["id"]),
        "billing_correction_id": correction["id"],
    }
    opening, charge, back = await billing.entries(billing.organization.wallet_id)
    assert (opening["kind"], charge["kind"], back["kind"]) == ("opening", "charge", "refund")
    assert (back["amount"], back["balance_after"]) == (Decimal("0.03"), Decimal(100))
    (refunded,) = await billing.cycles(instance, status="refunded")
    assert refunded["billing_correction_id"] == correction["id"]
    assert await billing.verify() == []


async def test_refunded_hours_are_never_billed_again(billing: Billing) -> None:
    instance = await billing.bill_instance(hours_due=3)
    await refunds.refund_cycle(billing.connection, await only_cycle(billing.connection), **OPERATOR)
    await billing.run()
    assert await billing.hours_billed(instance) == 0
    await billing.pass_hours(2)
    await billing.run()
    assert await billing.hours_billed(instance) == 2
    assert await billing.balance() == Decimal("99.98")
    assert await billing.verify() == []


async def test_a_second_refund_of_a_cycle_changes_nothing(billing: Billing) -> None:
    await billing.bill_instance(hours_due=3)
    cycle = await only_cycle(billing.connection)
    await refunds.refund_cycle(billing.connection, cycle, **OPERATOR)
    before = await billing.everything()
    assert await refunds.refund_cycle(billing.connection, cycle, **OPERATOR) == Refund()
    assert await billing.everything() == before


async def test_refunds_of_one_cycle_at_the_same_time_give_it_back_once(billing: Billing) -> None:
    await billing.add_instance(hours_due=3)
    run_id = (await billing.run()).run_id
    cycle = await only_cycle(billing.connection)

    async def of_cycle() -> Refund:
        async with billing.pool.acquire() as session:
            return await refunds.refund_cycle(session, cycle, **OPERATOR)

    async def of_run() -> Refund:
        async with billing.pool.acquire() as session:
            return await refunds.refund_run(session, run_id, **OPERATOR)

    async with (
        time_limit("the refunds did not end"),
        asyncio.TaskGroup() as group,
        in_the_way(
            billing.dsn, "select from wallets where id = $1 for update", billing.organization.wallet_id
        ),
    ):
        tasks = [group.create_task(refund()) for refund in (of_cycle, of_run, of_cycle, of_run)]
        await sessions_waiting(billing.connection, 4)
    assert sorted(task.result().cycles for task in tasks) == [0, 0, 0, 1]
    assert await billing.connection.fetchval("select count(*) from billing_corrections") == 1
    assert await billing.balance() == Decimal(100)
    assert await billing.verify() == []


async def test_a_refund_of_a_run_gives_everything_back_in_batches(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refunds, "_CYCLES_AT_ONCE", 2)
    organizations = [await fleet.add_organization(billing.connection) for _ in range(3)]
    for organization in organizations:
        for _ in range(3):
            await billing.add_instance(organization, hours_due=2)
    run_id = (await billing.run()).run_id
    await billing.pass_hours(1)
    await billing.run()
    refund = await refunds.refund_run(billing.connection, run_id, **OPERATOR)
    assert refund == Refund(cycles=9, hours=18, amount=Decimal("0.18"))
    for organization in organizations:
        assert await billing.balance(organization.wallet_id) == Decimal("99.97")
    assert await billing.connection.fetchval("select count(*) from billing_corrections") == 1
    assert await refunds.refund_run(billing.connection, run_id, **OPERATOR) == Refund()
    assert await billing.verify() == []


async def test_a_refund_of_a_run_leaves_what_was_refunded_before(billing: Billing) -> None:
    for _ in range(2):
        await billing.add_instance(hours_due=1)
    run_id = (await billing.run()).run_id
    first = await billing.connection.fetchval("select id from vps_billing_cycles limit 1")
    await refunds.refund_cycle(billing.connection, first, **OPERATOR)
    assert (await refunds.refund_run(billing.connection, run_id, **OPERATOR)).cycles == 1
    assert await billing.balance() == Decimal(100)
    assert await billing.verify() == []


async def test_a_refund_survives_a_top_up_and_a_charge_at_the_same_time(billing: Billing) -> None:
    await billing.add_instance(hours_due=3)
    run_id = (await billing.run()).run_id
    await billing.pass_hours(1)

    async def refund() -> None:
        async with billing.pool.acquire() as session:
            await refunds.refund_run(session, run_id, **OPERATOR)

    top_up = "update wallets set balance = balance + 5 where id = $1"
    async with (
        time_limit("somebody waits for ever"),
        asyncio.TaskGroup() as group,
        in_the_way(billing.dsn, top_up, billing.organization.wallet_id),
    ):
        group.create_task(refund())
        group.create_task(billing.run())
        await sessions_waiting(billing.connection, 2)
    assert await billing.balance() == Decimal("104.99")


async def test_a_refund_goes_to_the_wallet_that_paid(billing: Billing) -> None:
    await billing.bill_instance(hours_due=3)
    older = await fleet.add_wallet(billing.connection, billing.organization.id, balance="7")
    await billing.connection.execute(
        "update wallets set created_at = now() - interval '1 year' where id = $1", older
    )
    await refunds.refund_cycle(billing.connection, await only_cycle(billing.connection), **OPERATOR)
    assert await billing.balance() == Decimal(100)
    assert await billing.balance(older) == Decimal(7)


async def test_without_the_paying_wallet_money_goes_to_the_current_one(billing: Billing) -> None:
    await billing.bill_instance(hours_due=3)
    await billing.connection.execute("delete from wallets where id = $1", billing.organization.wallet_id)
    another = await fleet.add_wallet(billing.connection, billing.organization.id, balance="7")
    await fleet.add_wallet(billing.connection, billing.organization.id, balance="7", currency="EUR")
    await refunds.refund_cycle(billing.connection, await only_cycle(billing.connection), **OPERATOR)
    assert await billing.balance(another) == Decimal("7.03")
    assert await billing.verify() == []


async def test_without_a_wallet_a_cycle_is_left_over_and_stays_billed(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    await billing.add_instance(hours_due=3)
    run_id = (await billing.run()).run_id
    await connection.execute("delete from organizations where id = $1", billing.organization.id)
    assert await refunds.refund_run(connection, run_id, **OPERATOR) == Refund(left_over=1)
    assert await connection.fetchval("select status from vps_billing_cycles") == "billed"
    assert await connection.fetchval("select count(*) from billing_corrections where kind = 'refund'") == 0
    assert await billing.verify() == []


async def test_a_refund_settles_debts_like_any_money_that_comes_in(billing: Billing) -> None:
    poor = await fleet.add_organization(billing.connection, balance="0.02")
    instance = await billing.bill_instance(poor, hours_due=2)
    await billing.pass_hours(1)
    await billing.run()
    assert instance in await billing.open_debts()
    async with another_session(billing.dsn) as listener:
        heard = asyncio.Event()
        await listener.add_listener("wallet_topped_up", lambda *_: heard.set())
        paid = await billing.connection.fetchval("select id from vps_billing_cycles where status = 'billed'")
        await refunds.refund_cycle(billing.connection, paid, **OPERATOR)
        async with time_limit("nobody heard of the money"):
            await heard.wait()
    await billing.run()
    assert await billing.open_debts() == {}
    assert await billing.verify() == []


async def test_cycles_that_were_not_paid_or_not_ours_are_not_refunded(
    billing: Billing, poor: Organization
) -> None:
    with pytest.raises(NotFound, match="there is no billing cycle"):
        await refunds.refund_cycle(billing.connection, uuid4(), **OPERATOR)
    with pytest.raises(NotFound, match="there is no billing run 4711"):
        await refunds.refund_run(billing.connection, 4711, **OPERATOR)
    await billing.add_instance(poor, hours_due=2)
    run_id = (await billing.run()).run_id
    with pytest.raises(ContainerStacksError, match="is failed: nobody paid it"):
        await refunds.refund_cycle(billing.connection, await only_cycle(billing.connection), **OPERATOR)
    assert await refunds.refund_run(billing.connection, run_id, **OPERATOR) == Refund()
    foreign = await billing.connection.fetchval(
        "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start,"
        " billing_period_end, hourly_rate, total_amount, status)"
        " values ($1, $2, now(), now() + interval '1 hour', 1, 1, 'billed') returning id",
        uuid4(),
        poor.id,
    )
    with pytest.raises(ContainerStacksError, match="charged by another application"):
        await refunds.refund_cycle(billing.connection, foreign, **OPERATOR)


async def test_a_run_that_is_going_on_is_not_refunded(connection: asyncpg.Connection) -> None:
    run_id = await connection.fetchval(
        "insert into billing_runs (biller, trigger, holder, term) values ('daemon', 'once', 'x', 0) returning id"
    )
    with pytest.raises(BillingBusy, match="is going on"):
        await refunds.refund_run(connection, run_id, **OPERATOR)


async def test_the_database_itself_refuses_to_refund_a_cycle_twice(billing: Billing) -> None:
    await billing.bill_instance(hours_due=3)
    cycle = await only_cycle(billing.connection)
    await refunds.refund_cycle(billing.connection, cycle, **OPERATOR)
    await billing.connection.execute("update vps_billing_cycles set status = 'billed' where id = $1", cycle)
    with pytest.raises(asyncpg.UniqueViolationError, match="refund_reference"):
        await refunds.refund_cycle(billing.connection, cycle, **OPERATOR)
    assert await billing.balance() == Decimal(100)
