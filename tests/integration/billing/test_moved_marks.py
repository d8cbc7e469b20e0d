"""Marks that somebody moved: no hour is charged twice, and the neighbours of such an instance are billed."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.billing import moved_marks
from support import fleet
from support.billing import Billing, another_session
from support.fleet import Organization, Plan

COPY = (
    "insert into vps_instances (id, organization_id, plan_id, provider_instance_id, label, created_at)"
    " select id, organization_id, plan_id, '1', label, created_at from deleted_vps_instances where id = $1"
)


async def assert_goes_on_when_set_right(billing: Billing, instance: UUID) -> None:
    """Set the mark to the end of what was charged: the third hour, and no other, is charged then."""
    await billing.connection.execute(
        "update vps_instances set last_billed_at = $2 where id = $1",
        instance,
        (await billing.cycles(instance))[-1]["billing_period_end"],
    )
    await billing.run()
    assert await billing.hours_billed(instance) == 3
    assert await billing.verify() == []


async def billed_pair(billing: Billing, *, hours_due: int) -> tuple[UUID, UUID]:
    instance = await billing.add_instance(hours_due=hours_due)
    return instance, await billing.bill_instance(hours_due=hours_due)


async def test_a_row_restored_without_its_mark_waits_and_others_are_billed(billing: Billing) -> None:
    instance, neighbour = await billed_pair(billing, hours_due=2)
    await billing.connection.execute("delete from vps_instances where id = $1", instance)
    await billing.connection.execute(COPY, instance)
    await billing.pass_hours(1)
    summary = await billing.run()
    assert (summary.status, summary.charged.instances_billed) == ("succeeded", 1)
    assert {"problem": "mark_set_back", "count": 1} in summary.problems
    assert [await billing.hours_billed(i) for i in (instance, neighbour)] == [2, 3]
    assert await fleet.balance_of(billing.connection, billing.organization) == Decimal("99.95")
    # verify names it and says until when it was charged; set right, it goes on from there.
    assert {finding.key for finding in await billing.verify()} == {str(instance)}
    await assert_goes_on_when_set_right(billing, instance)


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_mark_set_back_charges_no_hour_twice(billing: Billing, *, is_deleted: bool) -> None:
    instance, neighbour = await billed_pair(billing, hours_due=3)
    # By hand, past the guard that keeps marks.
    await billing.connection.execute("set containerstacks.guard = 'off'")
    await billing.connection.execute(
        "update vps_instances set last_billed_at = last_billed_at - $2::interval where id = $1",
        instance,
        timedelta(minutes=90),
    )
    if is_deleted:
        await billing.connection.execute("delete from vps_instances where id = $1", instance)
    await billing.pass_hours(1)
    await billing.run()
    assert [await billing.hours_billed(i) for i in (instance, neighbour)] == [3, 4]
    assert [finding.check for finding in await billing.verify()] == ["periods_beyond_last_billed"]


async def _move(connection: asyncpg.Connection, instance: UUID, owner: Organization) -> None:
    await connection.execute("set containerstacks.guard = 'off'")
    await connection.execute(
        "update vps_instances set organization_id = $2, last_billed_at = null where id = $1",
        instance,
        owner.id,
    )


async def _move_and_restore(connection: asyncpg.Connection, instance: UUID, owner: Organization) -> None:
    await connection.execute(
        "update vps_instances set organization_id = $2 where id = $1", instance, owner.id
    )
    await connection.execute("delete from vps_instances where id = $1", instance)
    await connection.execute(COPY, instance)


async def _restore_there_twice(connection: asyncpg.Connection, instance: UUID, owner: Organization) -> None:
    row = await fleet.take_out(connection, instance)
    await fleet.insert(connection, "vps_instances", row | {"organization_id": owner.id})
    await connection.execute("delete from vps_instances where id = $1", instance)
    await connection.execute(COPY, instance)


@pytest.mark.parametrize("change_hands", [_move, _move_and_restore, _restore_there_twice])
@pytest.mark.parametrize("milliseconds", [0, 1])
async def test_hours_that_an_earlier_organization_paid_are_charged_to_no_other(
    billing: Billing,
    *,
    change_hands: Callable[[asyncpg.Connection, UUID, Organization], Awaitable[None]],
    milliseconds: int,
) -> None:
    other = await fleet.add_organization(billing.connection)
    neighbour = await billing.add_instance(other, hours_due=2)
    instance = await billing.bill_instance(hours_due=2)
    await change_hands(billing.connection, instance, other)
    # The unique key on periods catches only those that begin at the very same moment.
    await billing.connection.execute(
        "update vps_instances set created_at = created_at + $2::interval where id = $1",
        instance,
        timedelta(milliseconds=milliseconds),
    )
    await billing.pass_hours(1)
    summary = await billing.run()
    assert summary.status == "succeeded"
    assert {"problem": "mark_set_back", "count": 1} in summary.problems
    assert [await billing.hours_billed(i) for i in (instance, neighbour)] == [2, 3]
    await assert_goes_on_when_set_right(billing, instance)


async def test_a_moved_mark_set_back_past_the_triggers_affects_no_other(billing: Billing) -> None:
    other = await fleet.add_organization(billing.connection)
    neighbour = await billing.add_instance(other, hours_due=2)
    instance = await billing.bill_instance(hours_due=2)
    await billing.connection.execute(
        "update vps_instances set organization_id = $2 where id = $1", instance, other.id
    )
    async with another_session(billing.dsn) as session:
        await session.execute("set session_replication_role = replica")
        await session.execute("update vps_instances set last_billed_at = null where id = $1", instance)
    await billing.pass_hours(1)
    summary = await billing.run()
    assert summary.status == "succeeded"
    assert [await billing.hours_billed(i) for i in (instance, neighbour)] == [2, 3]


async def test_a_mark_set_back_past_the_triggers_affects_no_other(billing: Billing) -> None:
    instance, neighbour = await billed_pair(billing, hours_due=3)
    async with another_session(billing.dsn) as session:
        await session.execute("set session_replication_role = replica")
        await session.execute("update vps_instances set last_billed_at = null where id = $1", instance)
    await billing.pass_hours(1)
    summary = await billing.run()
    assert {"problem": "mark_set_back", "count": 1} in summary.problems
    assert [await billing.hours_billed(i) for i in (instance, neighbour)] == [3, 4]
    assert [finding.check for finding in await billing.verify()] == ["periods_beyond_last_billed"]


async def test_a_mark_set_back_over_uncharged_hours_is_billed(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=1)
    await billing.connection.execute(
        "update vps_instances set last_billed_at = clock_now() - interval '61 minutes' where id = $1",
        instance,
    )
    await billing.connection.execute(
        "update vps_instances set last_billed_at = last_billed_at - interval '1 hour' where id = $1", instance
    )
    assert (await billing.run()).problems == []
    assert await billing.hours_billed(instance) == 2
    assert await billing.connection.fetchval("select count(*) from moved_marks") == 0


async def test_a_mark_set_back_again_during_the_comparison_waits(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=3)
    await billing.run()
    move = "update vps_instances set last_billed_at = last_billed_at + $1::interval where id = $2"
    async with another_session(billing.dsn) as session:
        await session.execute("set containerstacks.guard = 'off'")
        for minutes in (-90, 90):
            await session.execute(move, timedelta(minutes=minutes), instance)
        async with session.transaction():
            await session.execute(move, timedelta(minutes=-90), instance)
            # It finds the mark where it belongs, as far as it can see, and nothing due.
            await billing.run()
    await billing.pass_hours(1)
    await billing.run()
    assert await billing.hours_billed(instance) == 3
    assert {finding.check for finding in await billing.verify()} == {"periods_beyond_last_billed"}


async def _add_history(
    connection: asyncpg.Connection, organization: Organization, plan: Plan, *, instances: int, hours: int
) -> None:
    """Add instances that were charged for so many hours, and owe one."""
    await connection.execute(
        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at, last_billed_at)"
        " select $1, $2, '1', 'vps', clock_now() - interval '1 year', clock_now() - interval '65 minutes'"
        " from generate_series(1, $3::integer)",
        organization.id,
        plan.reference,
        instances,
    )
    await connection.execute(
        "insert into vps_billing_cycles (vps_instance_id, organization_id, billing_period_start, billing_period_end,"
        " hourly_rate, total_amount, status, billing_run_id)"
        " select id, organization_id, last_billed_at - (k + 1) * interval '1 hour',"
        " last_billed_at - k * interval '1 hour', 0.01, 0.01, 'billed', 1"
        " from vps_instances, generate_series(0, $1::integer - 1) as k",
        hours,
    )
    await connection.execute("analyze vps_billing_cycles")


async def test_restoring_a_customer_with_a_long_history_delays_no_run(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    await _add_history(connection, organization, plan, instances=500, hours=300)
    await fleet.delete_and_restore(connection, organization.id, "vps_instances")
    assert await connection.fetchval("select count(*) from moved_marks") == 500
    await connection.execute("set statement_timeout = '2s'")
    assert await connection.fetch("select * from compare_moved_marks($1)", [organization.id]) == []
    assert await connection.fetchval("select count(*) from moved_marks") == 0


@pytest.mark.parametrize(("limit", "seconds"), [("_SECONDS_MAX", 0.0), ("_STATEMENT_SECONDS_MAX", 0.001)])
async def test_restored_instances_that_a_run_has_no_time_to_compare_wait_for_the_next_one(
    billing: Billing, *, monkeypatch: pytest.MonkeyPatch, limit: str, seconds: float
) -> None:
    await _add_history(billing.connection, billing.organization, billing.plan, instances=100, hours=100)
    await fleet.delete_and_restore(billing.connection, billing.organization.id, "wallets", "vps_instances")
    other = await fleet.add_organization(billing.connection)
    neighbour = await billing.add_instance(other, hours_due=1)
    with monkeypatch.context() as patch:
        patch.setattr(moved_marks, limit, seconds)
        summary = await billing.run()
    assert summary.status == "succeeded"
    assert summary.problems == [{"problem": "marks_not_compared", "count": 1}]
    assert await billing.hours_billed(neighbour) == 1
    assert summary.charged.instances_billed == 1
    summary = await billing.run()
    assert (summary.problems, summary.charged.instances_billed) == ([], 100)
