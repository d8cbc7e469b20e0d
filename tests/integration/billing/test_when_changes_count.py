"""From when on a change counts: a resize from when it was made, a price from its commit; never from the future."""

from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from containerstacks_shared.billing.documents import RunTrigger
from containerstacks_shared.core.errors import ContainerStacksError
from support import fleet
from support.billing import Billing, another_session, in_the_way
from support.clock import clock_now, shift_session
from support.fleet import Organization, Plan
from support.waiting import time_limit

CENT = Decimal("0.01")


async def test_a_resize_in_an_old_transaction_does_not_go_behind_the_one_before_it(billing: Billing) -> None:
    plans = [
        await fleet.add_plan(billing.connection, base_price=price, markup_price="0")
        for price in ("7.30", "730", "73")
    ]
    instance = await billing.add_instance(plan=plans[0], hours_due=3)
    async with another_session(billing.dsn) as slow, slow.transaction():
        await slow.fetchval("select now()")
        await billing.connection.execute(
            "update vps_instances set plan_id = $2 where id = $1", instance, plans[1].reference
        )
        await slow.execute(
            "update vps_instances set plan_id = $2 where id = $1", instance, plans[2].reference
        )
    await billing.run()
    assert [cycle["total_amount"] for cycle in await billing.cycles(instance)] == [3 * CENT]
    await billing.pass_hours(2)
    await billing.run()
    # The hour in which it was resized began before that; the one after it costs what it is now.
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(instance)] == [CENT, CENT, 10 * CENT]
    changes = await billing.connection.fetch("select * from vps_plan_changes order by changed_at")
    assert [change["id"] for change in changes] == sorted(change["id"] for change in changes)
    assert await billing.verify() == []


async def test_a_price_counts_from_its_commit_however_long_its_transaction_was_open(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=1)
    edit = "update vps_plans set base_price = 14.60, markup_price = 0 where id = $1"
    async with time_limit("the run waited for it"), in_the_way(billing.dsn, edit, billing.plan.id) as editor:
        await billing.pass_hours(3)
        # It began before the clock was shifted, so it has to read the new setting.
        await shift_session(editor, timedelta(0))
        assert (await billing.run()).status == "succeeded"
    assert {cycle["hourly_rate"] for cycle in await billing.cycles(instance)} == {CENT}
    await billing.pass_hours(2)
    await billing.run()
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(instance)] == [CENT, CENT, 2 * CENT]
    assert await billing.hours_billed(instance) == 6
    assert await billing.verify() == []


async def test_a_session_cannot_date_its_changes_by_its_own_clock(billing: Billing) -> None:
    resized, deleted = [await billing.add_instance(hours_due=2) for _ in range(2)]
    other = await fleet.add_plan(billing.connection)
    async with another_session(billing.dsn) as session:
        await session.execute("set containerstacks.clock_offset = '30 days'")
        await session.execute("update vps_instances set plan_id = $2 where id = $1", resized, other.reference)
        await session.execute("delete from vps_instances where id = $1", deleted)
        await session.execute("update vps_plans set base_price = 14.60 where id = $1", billing.plan.id)
    moments = await billing.connection.fetchrow(
        "select clock_present() as present, (select max(changed_at) from vps_plan_changes) as changed_at,"
        " (select max(deleted_at) from deleted_vps_instances) as deleted_at,"
        " (select max(effective_from) from hourly_rates) as effective_from"
    )
    assert moments is not None
    assert max(moments.values()) == moments["present"]


async def test_changes_dated_ahead_count_from_when_the_clock_is_corrected(billing: Billing) -> None:
    await billing.run()
    kept, deleted = [await billing.add_instance(hours_due=2) for _ in range(2)]
    await billing.pass_time(timedelta(days=30))
    await billing.connection.execute("delete from vps_instances where id = $1", deleted)
    await billing.connection.execute("update vps_plans set base_price = 14.60, markup_price = 0")
    await billing.pass_time(timedelta(days=-30))
    assert {finding.check for finding in await billing.verify()} == {"facts_of_the_future"}
    summary = await billing.run()
    assert {"problem": "clock_was_ahead", "count": 4} in summary.problems
    assert [await billing.hours_billed(instance) for instance in (kept, deleted)] == [2, 2]
    await billing.pass_hours(2)
    await billing.connection.execute("update vps_plans set base_price = 21.90")
    await billing.pass_hours(2)
    await billing.run()
    assert await billing.hours_billed(deleted) == 2
    assert [cycle["hourly_rate"] for cycle in await billing.cycles(kept)] == [CENT, CENT, 2 * CENT, 3 * CENT]
    assert await billing.verify() == []


async def test_no_price_is_withdrawn_while_the_clock_is_behind(billing: Billing) -> None:
    instance = await billing.bill_instance(hours_due=2)
    await billing.connection.execute("delete from vps_instances where id = $1", instance)
    before = await billing.connection.fetch("select * from deleted_vps_instances")
    await billing.pass_time(timedelta(days=-30))
    with pytest.raises(ContainerStacksError, match="stands before the last billing run"):
        await billing.run()
    assert await billing.connection.fetch("select * from deleted_vps_instances") == before


async def test_a_deletion_that_is_dated_ahead_is_not_charged_beyond_the_present(
    connection: asyncpg.Connection, organization: Organization, plan: Plan
) -> None:
    instance = await fleet.add_instance(connection, organization, plan, hours_due=2)
    await connection.execute("delete from vps_instances where id = $1", instance)
    # As if it had come between a run's look at the clock and its charge.
    await connection.execute("update deleted_vps_instances set deleted_at = deleted_at + interval '30 days'")
    run = await connection.fetchval(
        "insert into billing_runs (biller, trigger, holder, term) values ('daemon', 'once', 'test', 1) returning id"
    )
    charged = await connection.fetchrow(
        "select * from charge_organizations($1, $2, $3)", [organization.id], await clock_now(connection), run
    )
    assert charged is not None
    assert charged["hours_billed"] == 2


async def test_an_instance_whose_plan_is_not_priced_yet_waits_alone(billing: Billing) -> None:
    known = await billing.add_instance(hours_due=2)
    # Somebody else prices it at this moment and has not committed: what it costs is not known.
    async with in_the_way(billing.dsn, "select register_rates(array['g6-new'], array['us-east'])"):
        async with another_session(billing.dsn) as session:
            await session.execute("set session_replication_role = replica")
            new = await fleet.add_instance(session, billing.organization, "g6-new", hours_due=2)
            await session.execute("update vps_instances set rate_region = 'us-east' where id = $1", new)
            await session.execute(
                "insert into count_deltas (metric, status, plan_id, region, amount)"
                " values ('vps_instances', 'running', 'g6-new', 'us-east', 1)"
            )
        summary = await billing.run(trigger=RunTrigger.ONCE)
        assert (await billing.hours_billed(known), await billing.hours_billed(new)) == (2, 0)
        assert [problem["problem"] for problem in summary.problems] == ["rates_not_refreshed", "price_held"]
    await billing.run()
    assert await billing.hours_billed(new) == 2
