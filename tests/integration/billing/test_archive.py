"""Old charges leave the tables that every run writes: none that is unpaid or unverified, and nothing is lost."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.billing import refunds, write_offs
from containerstacks_shared.billing.archive import ArchivedMonth, archive
from containerstacks_shared.billing.audit import audit
from containerstacks_shared.billing.documents import RunStatus
from containerstacks_shared.billing.statement import Month, open_statement
from containerstacks_shared.billing.statement_formats import StatementFormat, render
from containerstacks_shared.core.errors import BillingBusy, ContainerStacksError
from support import fleet
from support.billing import Billing, in_the_way, kept_waiting
from support.clock import clock_now
from support.fleet import Organization, Plan

JANUARY, FEBRUARY, MARCH, APRIL = (Month(2031, month) for month in range(1, 5))
OPERATOR = {"reason": "the machine was down", "author": "ada"}
# The first of a month's charges, before $1, from $2 on.
ARCHIVE = "select archive_charges($1, 1, 9999, 0, $2, '00000000-0000-0000-0000-000000000000', $1, 10)"


@pytest.fixture(autouse=True)
async def _it_is_january(billing: Billing) -> None:
    await move_to(billing, datetime(2031, 1, 10, 12, tzinfo=UTC))


@pytest.fixture
async def instance(connection: asyncpg.Connection, organization: Organization, plan: Plan) -> UUID:
    return await fleet.add_instance(connection, organization, plan, label="web-1", hours_due=3)


async def move_to(billing: Billing, moment: datetime) -> None:
    await billing.pass_time(moment - await clock_now(billing.connection))


async def two_months(billing: Billing) -> None:
    """Charge in January and in February, audit both, and let March come."""
    await billing.run()
    await move_to(billing, datetime(2031, 2, 10, 12, tzinfo=UTC))
    await billing.run()
    await billing.pass_hours(2)
    await billing.run()
    await verified(billing)
    await move_to(billing, datetime(2031, 3, 10, 12, tzinfo=UTC))


async def verified(billing: Billing) -> None:
    async with billing.pool.acquire() as auditor:
        assert (await audit(auditor)).is_clean


async def archived(billing: Billing, before: Month, *, cycles_at_once: int = 5000) -> list[ArchivedMonth]:
    async with billing.pool.acquire() as connection:
        return [month async for month in archive(connection, before=before, cycles_at_once=cycles_at_once)]


async def statement_of(connection: asyncpg.Connection, organization: Organization, month: Month) -> str:
    async with open_statement(connection, organization=str(organization.id), month=month) as statement:
        return "".join([piece async for piece in render(statement, StatementFormat.CSV)])


async def count(connection: asyncpg.Connection, table: str) -> int:
    rows: int = await connection.fetchval(f"select count(*) from {table}")
    return rows


@pytest.mark.usefixtures("instance")
async def test_a_month_moves_unchanged_into_its_own_partition(billing: Billing) -> None:
    await two_months(billing)
    await move_to(billing, datetime(2031, 4, 1, tzinfo=UTC))
    rows = [
        await billing.connection.fetch(f"select * from {table} order by id")
        for table in ("vps_billing_cycles", "payment_transactions", "wallets", "wallet_ledger_entries")
    ]
    # The hours from January on that were paid for in February stay together with the payment.
    assert await archived(billing, FEBRUARY) == [ArchivedMonth(JANUARY, cycles=1, left=1)]
    assert await count(billing.connection, "vps_billing_cycles_archive_2031_01") == 1
    assert await count(billing.connection, "payment_transactions_archive_2031_01") == 1
    assert await archived(billing, APRIL) == [ArchivedMonth(JANUARY, 1, 0), ArchivedMonth(FEBRUARY, 1, 0)]
    assert await count(billing.connection, "vps_billing_cycles_archive_2031_01") == 2
    assert await count(billing.connection, "vps_billing_cycles_archive_2031_02") == 1
    assert await count(billing.connection, "payment_transactions_archive_2031_02") == 2
    assert await count(billing.connection, "vps_billing_cycles") == 0
    assert rows == [
        await billing.connection.fetch(f"select * from {table} order by id")
        for table in (
            "vps_billing_cycles_archive",
            "payment_transactions_archive",
            "wallets",
            "wallet_ledger_entries",
        )
    ]
    assert await archived(billing, APRIL) == []
    assert await billing.verify() == []


async def test_billing_continues_after_archived_hours(billing: Billing, instance: UUID) -> None:
    await two_months(billing)
    await archived(billing, MARCH)
    await billing.run()
    await verified(billing)
    await billing.pass_hours(1)
    await billing.run()
    async with billing.pool.acquire() as auditor:
        short = await audit(auditor)
    assert (short.based_on is not None, short.findings) == (True, [])
    assert await billing.verify() == []
    chain = await billing.connection.fetchrow(
        "select min(billing_period_start), max(billing_period_end),"
        " sum(extract(epoch from billing_period_end - billing_period_start) / 3600)::integer"
        " from all_vps_billing_cycles()"
    )
    assert chain is not None
    first, last, hours = chain
    assert (last - first).total_seconds() == hours * 3600
    assert last == await billing.connection.fetchval(
        "select last_billed_at from vps_instances where id = $1", instance
    )


@pytest.mark.usefixtures("instance")
async def test_unaudited_cycles_are_not_archived(billing: Billing, connection: asyncpg.Connection) -> None:
    await billing.run()
    await verified(billing)
    await billing.pass_hours(2)
    await billing.run()
    await move_to(billing, datetime(2031, 2, 10, 12, tzinfo=UTC))
    assert await archived(billing, FEBRUARY) == [ArchivedMonth(JANUARY, cycles=1, left=1)]
    assert await connection.fetchval("select billing_run_id from vps_billing_cycles") == 2
    assert await count(connection, "payment_transactions") == 1
    await verified(billing)
    assert await archived(billing, FEBRUARY) == [ArchivedMonth(JANUARY, cycles=1, left=0)]


@pytest.mark.usefixtures("instance")
async def test_without_a_clean_audit_nothing_is_archived(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    await billing.run()
    await move_to(billing, datetime(2031, 2, 10, tzinfo=UTC))
    with pytest.raises(ContainerStacksError, match="nobody has verified"):
        await archived(billing, FEBRUARY)
    await verified(billing)
    await connection.execute("update vps_instances set last_billed_at = last_billed_at + interval '1 hour'")
    async with billing.pool.acquire() as auditor:
        assert not (await audit(auditor, full=True)).is_clean
    with pytest.raises(ContainerStacksError, match="damage was found"):
        await archived(billing, FEBRUARY)
    assert await count(connection, "vps_billing_cycles") == 1


async def test_a_month_that_is_not_over_is_not_archived(billing: Billing) -> None:
    with pytest.raises(ContainerStacksError, match="2031-02 has not begun"):
        await archived(billing, FEBRUARY)


async def test_unpaid_hours_are_not_archived_and_can_still_be_settled(billing: Billing) -> None:
    poor = await fleet.add_organization(billing.connection, balance="0.01")
    instance = await billing.bill_instance(poor, hours_due=3)
    await verified(billing)
    await move_to(billing, datetime(2031, 2, 10, 12, tzinfo=UTC))
    assert await archived(billing, FEBRUARY) == [ArchivedMonth(JANUARY, cycles=1, left=0)]
    (failed,) = await billing.cycles(instance, status="failed")
    assert (await billing.open_debts())[instance]["vps_billing_cycle_id"] == failed["id"]
    # Hours as old as what is in the archive are charged when there is money for them.
    await billing.credit(poor, "0.02")
    await billing.run()
    assert [cycle["billing_run_id"] for cycle in await billing.cycles(instance)] == [2]
    assert await billing.balance(poor.wallet_id) == 0
    assert await billing.verify() == []


@pytest.mark.usefixtures("instance")
@pytest.mark.parametrize(
    "damage",
    [
        "update payment_transactions set amount = amount - 0.00000001",
        "update payment_transactions set status = 'pending'",
        "delete from payment_transactions",
        "update vps_billing_cycles set status = 'pending'",
    ],
)
async def test_charges_damaged_since_they_were_verified_are_not_archived(
    billing: Billing, connection: asyncpg.Connection, damage: str
) -> None:
    await billing.run()
    await verified(billing)
    await move_to(billing, datetime(2031, 2, 10, tzinfo=UTC))
    await connection.execute(damage)
    assert await archived(billing, FEBRUARY) == [ArchivedMonth(JANUARY, cycles=0, left=1)]
    assert await count(connection, "vps_billing_cycles") == 1
    assert await count(connection, "payment_transactions_archive") == 0


@pytest.mark.usefixtures("instance")
async def test_rows_of_others_and_money_that_came_in_stay(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start,"
        " billing_period_end, hourly_rate, total_amount, status, created_at)"
        " select id, organization_id, created_at - interval '1 hour', created_at, 0.01, 0.01, 'billed', created_at"
        " from vps_instances"
    )
    await billing.credit(billing.organization, "5", reference="invoice-1")
    await two_months(billing)
    await archived(billing, MARCH)
    assert (
        await connection.fetchval("select count(*) from vps_billing_cycles where billing_run_id is null") == 1
    )
    # A reference stays used after archiving.
    assert not (await billing.credit(billing.organization, "5", reference="invoice-1")).written
    assert await billing.verify() == []


async def test_a_statement_of_an_archived_month_is_identical(
    billing: Billing, connection: asyncpg.Connection, instance: UUID
) -> None:
    await billing.add_instance(label="web-2", hours_due=7)
    await two_months(billing)
    before = [
        await statement_of(connection, billing.organization, month) for month in (JANUARY, FEBRUARY, MARCH)
    ]
    await archived(billing, MARCH, cycles_at_once=1)
    await connection.execute("delete from vps_instances where id = $1", instance)
    after = [
        await statement_of(connection, billing.organization, month) for month in (JANUARY, FEBRUARY, MARCH)
    ]
    assert after == before
    assert before[0].count("charge") == 10


@pytest.mark.usefixtures("instance")
async def test_an_archived_cycle_is_refunded_once(billing: Billing, connection: asyncpg.Connection) -> None:
    await two_months(billing)
    await archived(billing, MARCH)
    cycle = await connection.fetchval("select id from vps_billing_cycles_archive where billing_run_id = 1")
    refund = await refunds.refund_cycle(connection, cycle, **OPERATOR)
    assert (refund.cycles, refund.hours, refund.amount) == (1, 3, Decimal("0.03"))
    assert await refunds.refund_cycle(connection, cycle, **OPERATOR) == refunds.Refund()
    assert await refunds.refund_run(connection, 1, **OPERATOR) == refunds.Refund()
    assert (await refunds.refund_run(connection, 2, **OPERATOR)).cycles == 1
    assert await billing.balance() == Decimal(100) - Decimal("0.02")
    assert "refund" in await statement_of(connection, billing.organization, MARCH)
    await billing.run()
    assert await billing.verify() == []


async def test_refunded_and_forgiven_hours_are_archived_with_their_chain(
    billing: Billing, poor: Organization, instance: UUID
) -> None:
    await billing.add_instance(poor, hours_due=3)
    run = await billing.run()
    await refunds.refund_run(billing.connection, run.run_id, **OPERATOR)
    await write_offs.write_off_organization(billing.connection, str(poor.id), **OPERATOR)
    await verified(billing)
    await move_to(billing, datetime(2031, 2, 10, tzinfo=UTC))
    assert await archived(billing, FEBRUARY) == [ArchivedMonth(JANUARY, cycles=2, left=0)]
    assert await billing.verify() == []
    await billing.run()
    assert await billing.hours_billed(instance) == 30 * 24 + 12
    assert await billing.verify() == []


async def test_archived_hours_are_never_charged_again(billing: Billing, instance: UUID) -> None:
    await two_months(billing)
    await archived(billing, MARCH)
    balance = await billing.balance()
    for mark in (
        None,
        await billing.connection.fetchval("select min(billing_period_end) from vps_billing_cycles_archive"),
    ):
        # By hand, past the guard that keeps marks.
        await billing.connection.execute("set containerstacks.guard = 'off'")
        await billing.connection.execute(
            "update vps_instances set last_billed_at = $2 where id = $1", instance, mark
        )
        run = await billing.run()
        assert {"problem": "mark_set_back", "count": 1} in run.problems
        assert await billing.balance() == balance
        assert await count(billing.connection, "vps_billing_cycles") == 0


async def test_a_charge_that_waited_for_the_archive_is_refused(billing: Billing, instance: UUID) -> None:
    """The moment between the two tables: the row is gone from the one, and not yet to be seen in the other."""
    await billing.run()
    await verified(billing)
    await move_to(billing, datetime(2031, 2, 10, tzinfo=UTC))
    await billing.connection.execute("select guard_archive($1)", FEBRUARY.begin)
    # By hand, past the guard that keeps marks and the trigger that notices when one is moved.
    await billing.connection.execute("set session_replication_role = replica")
    await billing.connection.execute("update vps_instances set last_billed_at = null where id = $1", instance)
    await billing.connection.execute("reset session_replication_role")
    async with kept_waiting(billing, billing.run(), ARCHIVE, FEBRUARY.begin, JANUARY.begin) as running:
        pass
    assert {"problem": "mark_set_back", "count": 1} in running.result().problems
    assert await count(billing.connection, "vps_billing_cycles_archive") == 1
    assert await count(billing.connection, "vps_billing_cycles") == 0


@pytest.mark.usefixtures("instance")
async def test_a_refund_waits_until_its_cycle_has_arrived(billing: Billing) -> None:
    run = await billing.run()
    await verified(billing)

    async def refund() -> refunds.Refund:
        async with billing.pool.acquire() as session:
            return await refunds.refund_run(session, run.run_id, **OPERATOR)

    async with kept_waiting(billing, refund(), ARCHIVE, FEBRUARY.begin, JANUARY.begin) as task:
        pass
    assert task.result().cycles == 1
    assert await billing.verify() == []


async def test_archiving_works_beside_billing_and_after_an_interruption(billing: Billing) -> None:
    for hours in range(1, 8):
        await billing.add_instance(hours_due=hours)
    await two_months(billing)
    async with billing.pool.acquire() as session:
        # A session that ends after one month has archived that month.
        async for month in archive(session, before=MARCH, cycles_at_once=2):
            assert month == ArchivedMonth(JANUARY, cycles=14, left=0)
            break
    assert await billing.verify() == []
    async with asyncio.TaskGroup() as group:
        rest = group.create_task(archived(billing, MARCH, cycles_at_once=1))
        running = group.create_task(billing.run(batch_size=1))
    # What the run has charged of February by then is left, for nobody has audited it.
    (february,) = rest.result()
    assert february == ArchivedMonth(FEBRUARY, cycles=7, left=february.left)
    assert running.result().status is RunStatus.SUCCEEDED
    assert await count(billing.connection, "vps_billing_cycles_archive") == 21
    assert await count(billing.connection, "vps_billing_cycles") == 7
    assert await billing.verify() == []


@pytest.mark.usefixtures("instance")
async def test_archiving_gives_up_when_the_tables_stay_locked(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("containerstacks_shared.billing.move_money._LOCK_WAIT_MAX", "100ms")
    await two_months(billing)
    async with in_the_way(billing.dsn, "lock table vps_billing_cycles in share mode"):
        with pytest.raises(BillingBusy, match="try again"):
            await archived(billing, MARCH)


@pytest.mark.usefixtures("instance")
async def test_a_column_that_the_application_added_is_archived_too(
    billing: Billing, connection: asyncpg.Connection
) -> None:
    await connection.execute("alter table vps_billing_cycles add column vps_label varchar(255)")
    await connection.execute("alter table payment_transactions alter column description type varchar(500)")
    await two_months(billing)
    await connection.execute("update vps_billing_cycles set vps_label = 'of ' || billing_run_id")
    await archived(billing, MARCH)
    rows = await connection.fetch("select vps_label from vps_billing_cycles_archive order by 1")
    assert [row["vps_label"] for row in rows] == ["of 1", "of 2", "of 3"]
    assert await billing.verify() == []
