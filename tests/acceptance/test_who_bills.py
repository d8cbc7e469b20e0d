"""The daemon bills; when it dies the built-in biller goes on; when it is back the built-in pauses."""

import signal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.database import locks
from containerstacks_shared.database.locks import Role
from support import charges, promises
from support.charges import DueFleet
from support.processes import Processes, Service
from support.waiting import becomes, eventually, session_waiting_for

# One organization of the due fleet to a batch.
SMALL_BATCHES = {"BILLING_BATCH_INSTANCES": "4", "BILLING_CONCURRENCY": "1"}


async def daemon_status(web: Service) -> dict[str, Any]:
    document: dict[str, Any] = await web.get_json("/api/health/billing-daemon")
    return dict(document["daemon"])


async def active_biller(web: Service) -> str:
    return str((await daemon_status(web))["activeBiller"])


@pytest.mark.main_path
async def test_a_killed_daemon_is_succeeded_within_ten_seconds_and_every_hour_is_billed_once(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection)
    async with charges.wallet_locked(database_url, due.organizations[3]) as holder:
        daemon = await processes.start_billing_daemon(database_url, **SMALL_BATCHES)
        await session_waiting_for(connection, holder)
        web = await processes.start_web(database_url, **SMALL_BATCHES)
        await becomes(lambda: active_biller(web), "daemon")
        billed_so_far = await charges.hours_billed(connection)
        assert 0 < len(billed_so_far) < len(due.expected)
        await daemon.kill()

    await becomes(lambda: charges.hours_billed(connection), due.expected, promises.SUCCEEDED_SECONDS)
    await eventually(lambda: builtin_bills_alone(web))
    await assert_money_is_right(connection, processes, database_url, due)

    restarted = await processes.start_billing_daemon(database_url)

    async def builtin_pauses() -> bool:
        assert await active_biller(web) == "daemon"
        return not await locks.is_held(connection, Role.BUILTIN_BILLING)

    await eventually(builtin_pauses, promises.SUCCEEDED_SECONDS)
    status = await daemon_status(web)
    assert status["status"] == "running"
    assert status["isStale"] is False
    assert restarted.running
    await assert_money_is_right(connection, processes, database_url, due)


async def builtin_bills_alone(web: Service) -> bool:
    status = await daemon_status(web)
    return (status["activeBiller"], status["status"]) == ("builtin", "stopped")


async def assert_money_is_right(
    connection: asyncpg.Connection, processes: Processes, database_url: str, due: DueFleet
) -> None:
    assert await charges.hours_billed(connection) == due.expected
    spent = charges.RATE * due.hours * len(due.instances[due.organizations[0].id])
    balances = await connection.fetch("select balance from wallets")
    assert {row["balance"] for row in balances} == {100 - spent}
    await processes.find_no_damage(database_url)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_daemon_finishes_the_batch_in_hand(
    database_url: str, connection: asyncpg.Connection, processes: Processes, number: signal.Signals
) -> None:
    due = await charges.add_due_fleet(connection)
    in_hand = due.organizations[2]
    async with charges.wallet_locked(database_url, in_hand) as holder:
        daemon = await processes.start_billing_daemon(database_url, **SMALL_BATCHES)
        await session_waiting_for(connection, holder)
        daemon.signal(number)
        await eventually(daemon.is_stopping)
    assert await daemon.exited() == 0, daemon.log

    billed = await charges.hours_billed(connection)
    expected: list[UUID] = [
        instance for organization in due.organizations[:3] for instance in due.instances[organization.id]
    ]
    assert billed == dict.fromkeys(expected, due.hours)
    runs = await connection.fetch("select status, instances_billed from billing_runs")
    assert [tuple(run) for run in runs] == [("interrupted", len(expected))]
    assert await connection.fetchval("select status from billing_daemon_status") == "stopped"


async def test_the_heartbeat_stays_fresh_until_the_last_biller_stops(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    await charges.add_due_fleet(connection, organizations=1)

    async def heartbeat_age() -> float | None:
        age: float | None = await connection.fetchval(
            "select extract(epoch from clock_now() - max(heartbeat_at))::float from billing_daemon_status"
        )
        return age

    async def beating() -> bool:
        age = await heartbeat_age()
        return age is not None and age < 10

    web = await processes.start_web(database_url)
    # A daemon that starts at the same time gets the first turn.
    await eventually(beating)
    daemon = await processes.start_billing_daemon(database_url)
    await becomes(lambda: active_biller(web), "daemon")
    assert await beating()
    last_run = await eventually(
        lambda: connection.fetchval("select max(last_run_at) from billing_daemon_status")
    )

    assert await daemon.terminate() == 0, daemon.log
    assert await beating()
    await becomes(lambda: active_biller(web), "builtin")
    assert await beating()
    assert await web.terminate() == 0, web.log

    assert await heartbeat_age() is None
    rows = await connection.fetch("select status, last_run_at, last_run_success from billing_daemon_status")
    assert {row["status"] for row in rows} == {"stopped"}
    assert max(row["last_run_at"] for row in rows if row["last_run_at"]) >= last_run
