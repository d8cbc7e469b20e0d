"""The demo fleet: made up, enlarged, alive, and kept away from real data."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import asyncpg
import psycopg
import pytest
from structlog.testing import capture_logs

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.demo import rows, simulation
from containerstacks_shared.demo.seeding import seed
from containerstacks_shared.demo.simulation import simulate
from containerstacks_shared.fleet.counts import read_platform_statistics, read_vps_details
from support import fleet
from support.waiting import eventually, looks_by

Run = Callable[..., Any]


def count(database: psycopg.Connection, query: str) -> int:
    row = database.execute(query.encode()).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def test_seeding_twice_adds_what_is_missing(run: Run, database: psycopg.Connection) -> None:
    first = run("demo", "seed", "--vps", "60")
    assert first.exit_code == 0
    assert "60 of 60 instances" in first.output
    assert count(database, "select count(*) from vps_instances") == 60
    assert run("demo", "seed", "--vps", "60").output == "The demo fleet is there already.\n"
    run("demo", "seed", "--vps", "600")
    assert count(database, "select count(*) from vps_instances") == 600
    assert count(database, "select count(*) from organizations") == 15
    assert run("verify").exit_code == 0


def test_a_database_with_data_of_its_own_is_refused(run: Run, database: psycopg.Connection) -> None:
    database.execute("insert into vps_plans (name, provider_plan_id, base_price) values ('Nano', 'nano', 5)")
    result = run("demo", "seed")
    assert result.exit_code == 1
    assert result.errors.startswith("error: this database has data of its own")
    assert count(database, "select count(*) from organizations") == 0


async def test_the_fleet_is_believable(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    async with pool.acquire() as writer:
        assert await seed(writer, instances=480) == 480
    details = await read_vps_details(connection)
    assert details.total == 480
    assert details.invalid_specifications == []
    assert details.by_status.running > 300
    assert min(details.by_status.stopped, details.by_status.error, details.by_status.provisioning) > 0
    assert details.resources.total_vcpus > 480
    platform = await read_platform_statistics(connection)
    assert platform.organizations.total == 12
    assert platform.regions.total == 6
    assert platform.plans.vps_plans == 47
    assert min(platform.users.total, platform.containers.total, platform.support.total_tickets) > 12
    organizations = await connection.fetch(
        "select count(*) as instances from vps_instances group by organization_id"
    )
    assert len(organizations) == 12
    unmatched = await connection.fetchval(
        "select count(*) from vps_instances i left join vps_plan_matches m on m.plan_id = i.plan_id"
        " and m.region = rate_region(i.plan_id, i.configuration ->> 'region') where m.vps_plan_id is null"
    )
    assert unmatched == 0


async def test_some_organizations_cannot_pay_and_most_can(connection: asyncpg.Connection) -> None:
    await seed(connection, instances=100)
    balances = await connection.fetch(
        "select w.balance from organizations o left join wallets w on w.organization_id = o.id"
    )
    assert [row["balance"] for row in balances].count(None) == 1
    known = [row["balance"] for row in balances if row["balance"] is not None]
    assert sum(balance < 1 for balance in known) == 2
    assert sum(balance > 100 for balance in known) == 9


async def test_billing_marks_are_recent_and_not_in_the_future(connection: asyncpg.Connection) -> None:
    await seed(connection, instances=200)
    hours = await connection.fetchrow(
        "select min(clock_now() - coalesce(last_billed_at, created_at)) as least,"
        " max(clock_now() - coalesce(last_billed_at, created_at)) as most from vps_instances"
    )
    assert hours is not None
    assert hours["least"].total_seconds() > 0
    assert hours["most"].total_seconds() < 3 * 3600


async def test_interrupted_seeding_leaves_nothing(connection: asyncpg.Connection) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(_done: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        await seed(connection, instances=50, progress=stop)
    assert await connection.fetchval("select count(*) from vps_plans") == 0


async def test_the_simulation_changes_statuses_until_it_is_stopped(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await seed(connection, instances=40)
    await connection.execute("create table seen as select id, status from vps_instances")

    async def changed() -> bool:
        differing = await connection.fetchval(
            "select count(*) from vps_instances now join seen using (id) where now.status <> seen.status"
        )
        return bool(differing >= 5)

    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(simulate(database_url, rate=200, stop=stop))
        await eventually(changed)
        stop.set()


async def test_the_simulation_continues_after_its_session_died(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await seed(connection, instances=40)
    stop = asyncio.Event()

    async def session() -> int | None:
        pid: int | None = await connection.fetchval(
            "select pid from pg_stat_activity"
            " where application_name = 'containerstacks-demo' and datname = current_database()"
        )
        return pid

    async def another() -> bool:
        return await session() not in (None, first)

    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            group.create_task(simulate(database_url, rate=200, stop=stop))
            first = await eventually(session)
            await connection.execute("select pg_terminate_backend($1)", first)
            await eventually(another)
            stop.set()
    assert [entry["event"] for entry in logs] == ["demo.database_away"]


async def test_the_simulation_continues_after_a_failed_change(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(connection, instances=40)
    before = await read_vps_details(connection)
    # Every change is a payment of 0, which no wallet accepts.
    monkeypatch.setattr(simulation, "_SHARE_DEPLOYED", 0.0)
    monkeypatch.setattr(simulation, "_SHARE_PAID", 1.0)
    monkeypatch.setattr(simulation, "_PAYMENT", Decimal(0))
    stop = asyncio.Event()

    async def changed() -> bool:
        return await read_vps_details(connection) != before

    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            group.create_task(simulate(database_url, rate=200, stop=stop))
            await eventually(lambda: "demo.failed" in [entry["event"] for entry in logs])
            monkeypatch.setattr(simulation, "_SHARE_PAID", 0.0)
            await eventually(changed)
            stop.set()


async def test_the_simulation_leaves_real_organizations_alone(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.add_instance(connection, status="real")
    with pytest.raises(ContainerStacksError, match="data of its own"):
        await seed(connection, instances=10)
    picks = looks_by(monkeypatch, rows, "pick_instance")
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(simulate(database_url, rate=2000, stop=stop))
        await picks.more(50)
        stop.set()
    assert await connection.fetchval("select array_agg(status::text) from vps_instances") == ["real"]
