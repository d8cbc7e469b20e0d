"""Two aggregators, and what happens to the leading one."""

import signal

import asyncpg
import pytest

from containerstacks_shared.fleet import counts
from support import fleet
from support.processes import Processes, Service
from support.waiting import becomes, eventually

LEADER = "select holder from leaderships where role = 'stats_aggregator'"


async def leader_and_standby(
    connection: asyncpg.Connection, processes: Processes, database_url: str
) -> tuple[Service, Service]:
    leader = await processes.start_stats_aggregator(database_url)
    await eventually(lambda: leads(connection, leader))
    return leader, await processes.start_stats_aggregator(database_url)


async def leads(connection: asyncpg.Connection, service: Service) -> bool:
    holder: str | None = await connection.fetchval(LEADER)
    return holder is not None and holder.endswith(f"-{service.pid}")


@pytest.mark.parametrize(("fault", "within"), [(signal.SIGKILL, 3.0), (signal.SIGSTOP, 10.0)])
async def test_the_standby_takes_over_and_counts_nothing_twice(
    database_url: str,
    connection: asyncpg.Connection,
    processes: Processes,
    fault: signal.Signals,
    within: float,
) -> None:
    organization = await fleet.add_organization(connection)
    leader, standby = await leader_and_standby(connection, processes, database_url)

    leader.signal(fault)
    for _ in range(5):
        await fleet.add_instance(connection, organization, "some-plan")

    await eventually(lambda: leads(connection, standby), within)
    await becomes(lambda: counts.pending_deltas(connection), 0)
    if fault is signal.SIGSTOP:
        leader.signal(signal.SIGCONT)
        await fleet.add_instance(connection, organization, "some-plan")
        await eventually(lambda: "leadership.lost" in leader.log)
        await becomes(lambda: counts.pending_deltas(connection), 0)
        assert await leads(connection, standby)
    assert (await counts.read_vps_statistics(connection)).total == await connection.fetchval(
        "select count(*) from vps_instances"
    )
    async with connection.transaction():
        assert await counts.reconcile(connection) == []


async def test_a_leader_that_stops_cleanly_is_succeeded_at_once(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    leader, standby = await leader_and_standby(connection, processes, database_url)

    assert await leader.terminate() == 0

    await eventually(lambda: leads(connection, standby), 2)
    await fleet.add_user(connection)
    await becomes(lambda: counts.pending_deltas(connection), 0)
