"""One run at a time, and one that is stopped, paused, replaced or refused ends cleanly."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.billing import control
from containerstacks_shared.billing.charge import charge_organizations
from containerstacks_shared.billing.documents import Biller, RunTrigger
from containerstacks_shared.billing.schedule import read_next_run
from containerstacks_shared.billing.status import read_daemon_details, read_daemon_status
from containerstacks_shared.core.errors import (
    BillingBusy,
    BillingPaused,
    ContainerStacksError,
    LeadershipLost,
)
from containerstacks_shared.database import db
from containerstacks_shared.database.locks import Leadership, Role
from support import fleet
from support.billing import Billing, another_session, in_the_way, kept_waiting
from support.fleet import Organization
from support.waiting import LIMIT_SECONDS, eventually, session_waiting_for, time_limit

LOCK_WALLET = "select from wallets where id = $1 for update"
# The first thing that a run reads after it began, and nothing else in it waits for this table.
LOCK_WORK = "lock table deleted_vps_instances in access exclusive mode"
LOCK_HOLDER = "select pid from pg_locks where locktype = 'advisory' and granted and objid = $1::integer::oid"


async def organizations_in_order(billing: Billing, *, count: int) -> Sequence[tuple[Organization, UUID]]:
    """In the order in which a run bills them, each with an instance that owes two hours."""
    organizations = [await fleet.add_organization(billing.connection) for _ in range(count)]
    organizations.sort(key=lambda organization: organization.id.bytes)
    return [
        (organization, await billing.add_instance(organization, hours_due=2))
        for organization in organizations
    ]


async def test_two_billers_at_once_bill_each_hour_once(billing: Billing) -> None:
    fleets = await organizations_in_order(billing, count=5)
    async with asyncio.timeout(LIMIT_SECONDS):
        first, second = await asyncio.gather(
            billing.run(batch_size=1, concurrency=1), billing.run(biller=Biller.BUILTIN, batch_size=1)
        )
    assert first.charged.hours_billed + second.charged.hours_billed == 10
    for organization, instance in fleets:
        assert await billing.hours_billed(instance) == 2
        assert await billing.balance(organization.wallet_id) == Decimal("99.98")
    assert await billing.verify() == []


async def test_batches_of_a_run_are_concurrent_and_independent(billing: Billing) -> None:
    fleets = await organizations_in_order(billing, count=3)
    # From the second run on the plan's charge is known; a batch that touched its row again would hold up the rest.
    await billing.run()
    await billing.pass_hours(1)

    async def two_count_up() -> bool:
        """The last thing that a batch does: everything else of both is written."""
        waiting: int = await billing.connection.fetchval(
            "select count(*) from pg_stat_activity"
            " where wait_event_type = 'Lock' and query like '%update billing_runs%'"
        )
        return waiting == 2

    async with time_limit("the run did not end"), asyncio.TaskGroup() as group:
        async with in_the_way(billing.dsn, LOCK_WORK) as starting:
            run = group.create_task(billing.run(batch_size=1, concurrency=2))
            await session_waiting_for(billing.connection, starting.get_server_pid())
            running = await asyncpg.connect(billing.dsn)
            await running.execute("begin; select from billing_runs where status = 'running' for update")
        await eventually(two_count_up)
        await running.close()
    assert run.result().charged.instances_billed == 3
    for _, instance in fleets:
        assert await billing.hours_billed(instance) == 3
    assert await billing.verify() == []


async def test_two_charges_without_any_run_lock_bill_each_hour_once(billing: Billing) -> None:
    run_id = (await billing.run()).run_id
    fleets = await organizations_in_order(billing, count=3)

    async def charge() -> int:
        async with billing.pool.acquire() as session, session.transaction():
            now = await session.fetchval("select clock_now()")
            wanted = [organization.id for organization, _ in fleets]
            return (await charge_organizations(session, wanted, now=now, run_id=run_id)).hours_billed

    async with asyncio.timeout(LIMIT_SECONDS):
        assert sorted(await asyncio.gather(*(charge() for _ in range(4)))) == [0, 0, 0, 6]
    assert {finding.check for finding in await billing.verify()} == {"runs_unlike_their_cycles"}


async def test_a_leader_replaced_before_its_first_batch_writes_nothing(billing: Billing) -> None:
    ((organization, instance),) = await organizations_in_order(billing, count=1)
    async with kept_waiting(billing, _lost(billing), LOCK_WORK) as run:
        await billing.connection.execute("update leaderships set term = term + 1 where role = 'billing_run'")
    assert "led billing_run in term 1; now" in run.result()
    assert await billing.hours_billed(instance) == 0
    assert await billing.balance(organization.wallet_id) == Decimal(100)


async def _lost(billing: Billing) -> str:
    with pytest.raises(LeadershipLost) as lost:
        await billing.run(batch_size=1, concurrency=1)
    return str(lost.value)


async def test_a_run_that_loses_its_lock_stops_and_another_bills_all_once(billing: Billing) -> None:
    fleets = await organizations_in_order(billing, count=3)
    async with time_limit("the runs did not end"), asyncio.TaskGroup() as group:
        async with in_the_way(billing.dsn, LOCK_WALLET, fleets[0][0].wallet_id) as obstacle:
            replaced = group.create_task(_lost(billing))
            # Its first batch is in hand: the successor has to wait for that one, and no longer.
            await session_waiting_for(billing.connection, obstacle.get_server_pid())
            pid = await billing.connection.fetchval(LOCK_HOLDER, Role.BILLING_RUN.number)
            await billing.connection.execute("select pg_terminate_backend($1, 5000)", pid)
        successor = group.create_task(billing.run(biller=Biller.BUILTIN))
    assert "lost" in replaced.result()
    assert successor.result().charged.instances_billed == 2
    for _, instance in fleets:
        assert await billing.hours_billed(instance) == 2
    assert await billing.verify() == []


async def test_a_run_finds_the_lock_taken_for_too_long(billing: Billing) -> None:
    ((_, instance),) = await organizations_in_order(billing, count=1)
    async with Leadership(billing.dsn, Role.BILLING_RUN, service="tests") as other:
        assert await other.try_acquire()
        with pytest.raises(BillingBusy, match="another billing run"):
            await billing.run(lock_timeout=0.05)
    assert await billing.hours_billed(instance) == 0
    assert await billing.connection.fetchval("select count(*) from billing_runs") == 0


async def test_a_run_that_is_stopped_while_it_waits_for_the_lock_says_so(billing: Billing) -> None:
    stop = asyncio.Event()
    async with Leadership(billing.dsn, Role.BILLING_RUN, service="tests") as other:
        assert await other.try_acquire()
        stop.set()
        with pytest.raises(BillingBusy, match="stopped"):
            await billing.run(stop=stop)


async def test_a_paused_billing_does_not_begin(billing: Billing) -> None:
    ((_, instance),) = await organizations_in_order(billing, count=1)
    await control.pause(billing.connection, reason="prices are wrong", author="alice")
    with pytest.raises(BillingPaused, match="by alice: prices are wrong"):
        await billing.run()
    assert await billing.hours_billed(instance) == 0
    await control.resume(billing.connection, reason="corrected", author="alice")
    await billing.run()
    assert await billing.hours_billed(instance) == 2


async def test_a_pause_in_the_middle_of_a_run_ends_it_after_the_batch_in_hand(billing: Billing) -> None:
    fleets = await organizations_in_order(billing, count=2)

    async def interrupted() -> None:
        with pytest.raises(BillingPaused):
            await billing.run(batch_size=1, concurrency=1)

    async with kept_waiting(billing, interrupted(), LOCK_WALLET, fleets[0][0].wallet_id):
        await control.pause(billing.connection, reason="stop", author="alice")
    assert [await billing.hours_billed(instance) for _, instance in fleets] == [2, 0]
    run = await billing.last_run()
    assert (run["status"], run["instances_billed"]) == ("interrupted", 1)


async def test_stopping_a_run_ends_it_after_the_batch_in_hand(billing: Billing) -> None:
    fleets = await organizations_in_order(billing, count=2)
    stop = asyncio.Event()
    run = billing.run(batch_size=1, concurrency=1, stop=stop)
    async with kept_waiting(billing, run, LOCK_WALLET, fleets[0][0].wallet_id) as running:
        stop.set()
    assert running.result().status == "interrupted"
    assert [await billing.hours_billed(instance) for _, instance in fleets] == [2, 0]
    stopped = await billing.last_run()
    assert (stopped["status"], stopped["instances_billed"], stopped["error_message"]) == (
        "interrupted",
        1,
        None,
    )
    assert (await billing.run()).charged.instances_billed == 1


async def test_a_cancelled_run_is_recorded_and_loses_only_the_batch_in_hand(billing: Billing) -> None:
    fleets = await organizations_in_order(billing, count=2)
    async with in_the_way(billing.dsn, LOCK_WALLET, fleets[1][0].wallet_id) as obstacle:
        running = asyncio.create_task(billing.run(batch_size=1, concurrency=1))
        await session_waiting_for(billing.connection, obstacle.get_server_pid())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [await billing.hours_billed(instance) for _, instance in fleets] == [2, 0]
    run = await billing.last_run()
    assert (run["status"], run["instances_billed"]) == ("interrupted", 1)


async def test_a_run_whose_sessions_die_is_closed_by_the_next_and_billed_once(billing: Billing) -> None:
    fleets = await organizations_in_order(billing, count=2)

    async def killed() -> None:
        with pytest.raises(db.UNAVAILABLE):
            await billing.run(batch_size=1, concurrency=1)

    async with (
        time_limit("the run did not end"),
        asyncio.TaskGroup() as group,
        in_the_way(billing.dsn, LOCK_WALLET, fleets[1][0].wallet_id) as obstacle,
    ):
        group.create_task(killed())
        pid = await session_waiting_for(billing.connection, obstacle.get_server_pid())
        await billing.connection.execute("select pg_terminate_backend($1, 5000)", pid)
    assert [await billing.hours_billed(instance) for _, instance in fleets] == [2, 0]
    failed = await billing.last_run()
    assert failed["status"] == "failed"
    assert "terminating connection" in failed["error_message"]
    await billing.run()
    assert [await billing.hours_billed(instance) for _, instance in fleets] == [2, 2]
    assert await billing.verify() == []


async def test_the_next_run_closes_what_a_dead_process_left_running(billing: Billing) -> None:
    await billing.connection.execute(
        "insert into billing_runs (biller, trigger, holder, term) values ('daemon', 'once', 'dead-1', 0)"
    )
    await billing.run(trigger=RunTrigger.START)
    dead = await billing.connection.fetchrow("select * from billing_runs where holder = 'dead-1'")
    assert dead is not None
    assert (dead["status"], dead["error_message"]) == ("interrupted", "the process ended before the run did")


async def test_a_clock_set_back_refuses_to_bill(billing: Billing) -> None:
    ((_, instance),) = await organizations_in_order(billing, count=1)
    await billing.run()
    await billing.pass_hours(-1)
    with pytest.raises(ContainerStacksError, match="clock stands before the last billing run"):
        await billing.run()
    await billing.pass_hours(2)
    await billing.run()
    assert await billing.hours_billed(instance) == 3


async def test_a_run_that_is_refused_is_on_record_and_the_next_is_not_put_off(billing: Billing) -> None:
    hour = timedelta(hours=1)
    await billing.run()
    await billing.pass_hours(-26)
    # At once, and not in a day.
    due = await read_next_run(billing.connection, interval=hour)
    assert due is not None
    assert due.due_in <= timedelta(0)
    with pytest.raises(ContainerStacksError):
        await billing.run()
    status = await read_daemon_status(billing.connection, interval=hour)
    assert (status.last_run_success, status.warning_threshold_exceeded) == (False, True)
    details = await read_daemon_details(billing.connection, interval=hour)
    assert details.error_message is not None
    assert "clock stands before" in details.error_message
    due = await read_next_run(billing.connection, interval=hour)
    assert due is not None
    assert timedelta(0) < due.due_in <= hour


async def test_a_clock_a_few_seconds_off_is_accepted(billing: Billing) -> None:
    await billing.run()
    await billing.pass_time(-timedelta(seconds=30))
    assert (await billing.run()).status == "succeeded"


async def test_billing_begins_while_the_application_uses_its_tables(billing: Billing) -> None:
    ((organization, instance),) = await organizations_in_order(billing, count=1)
    async with another_session(billing.dsn) as application, application.transaction():
        await application.execute(
            "select count(*) from wallets, vps_instances, vps_plans, organizations, vps_billing_cycles,"
            " payment_transactions"
        )
        await application.execute("update organizations set name = 'Renamed' where id = $1", organization.id)
        async with asyncio.timeout(LIMIT_SECONDS):
            await billing.run()
    assert await billing.hours_billed(instance) == 2


async def test_a_sequence_that_was_reset_is_named_in_one_line(billing: Billing) -> None:
    await billing.run()
    await billing.connection.execute("select setval(pg_get_serial_sequence('billing_runs', 'id'), 1, false)")
    with pytest.raises(ContainerStacksError, match="the sequence of billing_runs stands behind its rows"):
        await billing.run()


async def test_session_settings_of_roles_and_databases_do_not_affect_billing(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)
    name = await billing.connection.fetchval("select quote_ident(current_database())")
    await billing.connection.execute(f"alter database {name} set search_path = 'elsewhere'")
    await billing.connection.execute(
        f"alter database {name} set default_transaction_isolation = 'repeatable read'"
    )
    await billing.pool.expire_connections()
    assert (await billing.run()).status == "succeeded"
    assert await billing.hours_billed(instance) == 2
    async with billing.pool.acquire() as session:
        assert await session.fetchval("show transaction_isolation") == "read committed"
