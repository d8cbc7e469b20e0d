"""The metrics of the database and of billing that every aggregator exports."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import asyncpg
import pytest
from prometheus_client import REGISTRY

from containerstacks_shared.billing import control
from containerstacks_shared.billing.audit import audit
from containerstacks_shared.billing.price_holds import read_held
from containerstacks_shared.database import db
from containerstacks_stats_aggregator import measuring
from containerstacks_stats_aggregator.measuring import measure_until
from support import charges, fleet
from support.billing import Billing
from support.databases import past_the_triggers
from support.guard import beat
from support.original_biller import OriginalBiller
from support.waiting import eventually


@pytest.fixture(autouse=True)
def measures_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_EVERY_SECONDS", 0.02)


@pytest.fixture
async def measured(pool: db.Pool) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(measure_until(stop, pool=pool))
        yield
        stop.set()


def figure(name: str) -> float:
    value = REGISTRY.get_sample_value(f"containerstacks_database_{name}")
    assert value is not None
    return value


async def shows(name: str, expected: float) -> None:
    await eventually(lambda: figure(name) == expected)


@pytest.mark.usefixtures("measured")
async def test_the_last_success_and_a_pause_are_shown_for_either_biller(
    connection: asyncpg.Connection, billing: Billing
) -> None:
    await shows("last_success_timestamp_seconds", 0)
    await charges.add_due_fleet(connection, organizations=1, instances=1, hours=1)
    await billing.run()
    finished = await connection.fetchval("select max(finished_at) from billing_runs")
    await shows("last_success_timestamp_seconds", finished.timestamp())
    await shows("billing_paused", 0)
    await control.pause(connection, reason="stocktaking", author="tests")
    await shows("billing_paused", 1)


@pytest.mark.usefixtures("measured")
async def test_the_metric_of_held_plans_matches_the_list(
    connection: asyncpg.Connection, billing: Billing
) -> None:
    await fleet.add_plan(connection, base_price=Decimal(-1), markup_price=Decimal(0))
    soaring = await fleet.add_plan(connection)
    organization = await fleet.add_organization(connection, balance="100")
    await fleet.add_instance(connection, organization, soaring, hours_due=2)
    await billing.run()
    await shows("price_holds", 1)
    await connection.execute("update vps_plans set base_price = 7300 where id = $1", soaring.id)
    await billing.run()
    await shows("price_holds", 2)
    assert len(await read_held(connection)) == 2


@pytest.mark.usefixtures("measured")
async def test_audit_findings_are_shown_until_an_audit_is_clean(
    connection: asyncpg.Connection, billing: Billing
) -> None:
    await charges.add_due_fleet(connection, organizations=1, instances=1, hours=1)
    await billing.run()
    assert (await audit(connection)).is_clean
    await shows("audit_findings", 0)
    async with past_the_triggers(connection):
        await connection.execute("update wallets set balance = balance + 1")
    found = len((await audit(connection, full=True)).own)
    assert found > 0
    await shows("audit_findings", found)
    async with past_the_triggers(connection):
        await connection.execute("update wallets set balance = balance - 1")
    assert (await audit(connection)).is_clean
    await shows("audit_findings", 0)


@pytest.mark.usefixtures("measured")
async def test_a_listener_in_an_old_transaction_fills_the_queue(
    database_url: str, connection: asyncpg.Connection
) -> None:
    before = figure("notification_queue_ratio")
    listener = await asyncpg.connect(database_url)
    try:
        await listener.execute("listen nobody_reads")
        await listener.execute("begin")
        await listener.execute("select 1")
        await connection.execute(
            "select pg_notify('nobody_reads', repeat('x', 7000) || n) from generate_series(1, 500) as n"
        )
        await eventually(lambda: figure("notification_queue_ratio") > before)
    finally:
        await listener.close()


@pytest.mark.usefixtures("measured")
async def test_connections_are_counted_beside_the_servers_limit(connection: asyncpg.Connection) -> None:
    limit = int(await connection.fetchval("show max_connections"))
    await shows("connections_max", limit)
    await eventually(lambda: 2 <= figure("connections") <= limit)


async def test_without_the_database_the_last_figures_stay(
    pool: db.Pool, connection: asyncpg.Connection
) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(measure_until(stop, pool=pool))
    await control.pause(connection, reason="stocktaking", author="tests")
    await shows("billing_paused", 1)
    # The pool's own connections, each time it has one.
    pool.terminate()
    stood_at = await settled("measured_timestamp_seconds")
    assert figure("billing_paused") == 1
    assert not task.done()
    stop.set()
    await task
    assert figure("measured_timestamp_seconds") == stood_at


async def settled(name: str) -> float:
    """Wait until a figure has been the same for two measurements."""
    last = -1.0

    async def same() -> bool:
        nonlocal last
        before, last = last, figure(name)
        return before == last

    await eventually(same, pause=0.1)
    return last


@pytest.mark.usefixtures("measured")
async def test_charges_of_the_application_that_are_refused_are_shown_and_logged(
    database_url: str, connection: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    await charges.add_due_fleet(connection, organizations=1, instances=3, hours=1)
    await shows("application_charges_refused", 0)
    await beat(connection)
    await OriginalBiller(database_url).run()
    await shows("application_charges_refused", 3)
    await eventually(lambda: "guard.charges_refused" in capsys.readouterr().out)
    assert figure("application_charges_given_back") == figure("application_writes_mended") == 0


@pytest.mark.usefixtures("measured")
async def test_a_changed_schema_is_shown(connection: asyncpg.Connection) -> None:
    await shows("schema_changed", 0)
    await connection.execute("alter table vps_instances add column backup_frequency varchar(20)")
    await shows("schema_changed", 1)
