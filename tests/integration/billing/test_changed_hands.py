"""Instances and wallets that change hands, as when two customers become one: no cent and no debt stays behind."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.billing import refunds
from containerstacks_shared.billing.documents import RunTrigger
from containerstacks_shared.billing.statement import Line, LineKind, Month, open_statement
from support import fleet
from support.billing import Billing, another_session, in_the_way
from support.clock import clock_now
from support.fleet import Organization
from support.waiting import session_waiting_for, sessions_waiting

OPERATOR = {"reason": "the machine was down", "author": "ada"}


async def lines_of(connection: asyncpg.Connection, organization: Organization) -> list[Line]:
    now = await clock_now(connection)
    month = Month(now.year, now.month)
    async with open_statement(connection, organization=str(organization.id), month=month) as statement:
        return [line async for line in statement.lines]


async def test_a_debt_goes_with_its_instance_and_is_settled_by_its_new_owners_money(billing: Billing) -> None:
    owners = [await fleet.add_organization(billing.connection, balance="0") for _ in range(2)]
    # Whichever is billed first: both directions must do.
    for giver, taker in (owners, reversed(owners)):
        instance = await billing.bill_instance(giver, hours_due=2)
        await billing.connection.execute(
            "update vps_instances set organization_id = $2 where id = $1", instance, taker.id
        )
        await billing.pass_hours(1)
        await billing.run(batch_size=1, concurrency=1)
        assert (await billing.open_debts())[instance]["organization_id"] == taker.id
        await billing.credit(taker, "0.03", reference=f"payment-of-{taker.id}")
        await billing.run(trigger=RunTrigger.TOP_UP)
        assert await billing.open_debts() == {}
        assert await billing.hours_billed(instance) == 3
        await billing.connection.execute("delete from vps_instances")
    assert await billing.connection.fetchval("select count(*) from vps_debts") == 2
    assert await billing.verify() == []


async def test_a_wallet_that_is_handed_over_leaves_the_books_of_the_one_and_opens_in_those_of_the_other(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    # Two hours on, it is still the same month.
    await billing.pass_time(datetime(2031, 3, 10, 12, tzinfo=UTC) - await clock_now(connection))
    other = await fleet.add_organization(connection, balance=None)
    await billing.bill_instance(hours_due=3)
    await connection.execute("update wallets set organization_id = $1, balance = balance - 7", other.id)
    await connection.execute("update vps_instances set organization_id = $1", other.id)
    await billing.pass_hours(2)
    await billing.run()
    given, taken = await lines_of(connection, billing.organization), await lines_of(connection, other)
    assert [line.amount for line in given if line.kind is LineKind.CLOSING] == [Decimal("-99.97")]
    assert given[-1].balance == 0
    assert [(line.kind, line.amount) for line in taken[1:3]] == [
        (LineKind.OPENING, Decimal("99.97")),
        (LineKind.UNEXPLAINED, Decimal(-7)),
    ]
    assert taken[-1].balance == await billing.balance() == Decimal("92.95")
    assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"]


async def test_a_statement_names_an_instance_that_has_since_moved_to_another_organization(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    other = await fleet.add_organization(connection)
    await billing.add_instance(label="given", hours_due=1)
    await billing.add_instance(label="given and deleted", hours_due=1)
    await billing.run()
    await connection.execute("update vps_instances set organization_id = $1", other.id)
    await connection.execute("delete from vps_instances where label = 'given and deleted'")
    charged = [
        line for line in await lines_of(connection, billing.organization) if line.kind is LineKind.CHARGE
    ]
    assert sorted(line.label or "" for line in charged) == ["given", "given and deleted"]


@pytest.mark.parametrize("has_another", [True, False])
async def test_dollars_are_not_refunded_into_a_wallet_of_another_currency(
    billing: Billing, connection: asyncpg.Connection, *, has_another: bool
) -> None:
    await billing.add_instance(hours_due=3)
    run = await billing.run()
    await connection.execute("update wallets set currency = 'EUR'")
    wallet = await fleet.add_wallet(connection, billing.organization.id, balance="0") if has_another else None
    refund = await refunds.refund_run(connection, run.run_id, **OPERATOR)
    assert await billing.balance() == Decimal("99.97")
    if has_another:
        assert (refund.cycles, await billing.balance(wallet)) == (1, Decimal("0.03"))
    else:
        assert (refund.cycles, refund.left_over) == (0, 1)
    assert await billing.verify() == []


async def test_a_refund_is_in_the_books_of_the_organization_that_holds_the_paying_wallet(
    billing: Billing,
) -> None:
    other = await fleet.add_organization(billing.connection, balance=None)
    await billing.add_instance(hours_due=3)
    run = await billing.run()
    await billing.connection.execute("update wallets set organization_id = $1", other.id)
    await refunds.refund_run(billing.connection, run.run_id, **OPERATOR)
    assert await billing.balance() == 100
    (refund,) = [line for line in await lines_of(billing.connection, other) if line.kind is LineKind.REFUND]
    assert refund.amount == Decimal("0.03")
    assert await billing.verify() == []


# A refund is stopped where it marks its cycle, before it moves the wallet.
_STOP_REFUNDS = """
create function stop_refund() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock_shared(4711); return new; end; $$;
create trigger stop before update on vps_billing_cycles
    for each row when (new.status = 'refunded') execute function stop_refund()
"""


async def test_a_wallet_that_appears_under_a_refund_is_locked_before_it_is_written(billing: Billing) -> None:
    await billing.add_instance(hours_due=3)
    run = await billing.run()
    await billing.connection.execute("delete from wallets")
    known = await fleet.add_wallet(billing.connection, billing.organization.id, balance="0")
    await billing.connection.execute(_STOP_REFUNDS)
    await billing.connection.execute("select pg_advisory_lock(4711)")
    older = await clock_now(billing.connection) - timedelta(days=1)
    async with another_session(billing.dsn) as refunder:
        lock = "update wallets set balance = balance where id = $1"
        async with in_the_way(billing.dsn, lock, known) as holder:
            refund = asyncio.create_task(refunds.refund_run(refunder, run.run_id, **OPERATOR))
            await session_waiting_for(billing.connection, holder.get_server_pid())
            appeared = await fleet.add_wallet(holder, billing.organization.id, balance="0", created_at=older)
        await sessions_waiting(billing.connection, 1)
        await billing.connection.execute("update wallets set balance = balance + 5 where id = $1", appeared)
        await billing.connection.execute("select pg_advisory_unlock(4711)")
        await refund
    assert await billing.balance(appeared) == Decimal("5.03")
    assert [finding.check for finding in await billing.verify()] == ["unexplained_entries"]
