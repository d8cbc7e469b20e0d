"""Processes that stand still for a while: what the page says meanwhile, and what is on record afterwards."""

from dataclasses import dataclass
from typing import Any

import asyncpg

from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from support import databases, fleet, promises
from support.freezing import frozen, frozen_server
from support.headline import headline
from support.processes import Processes, Service
from support.waiting import LIMIT_SECONDS, becomes, eventually, time_passes

# Longer than the ten seconds between two checks, and shorter than the minute for which one is valid.
FREEZE_SECONDS = 11.0


@dataclass
class Platform:
    web: Service
    daemon: Service
    aggregator: Service

    async def components(self) -> dict[str, Any]:
        document = await self.web.get_json("/api/status/components")
        return {each["component"]: each for each in document["components"]}

    async def overall(self) -> str:
        return str((await self.web.get_json("/api/status/components"))["overall"])

    async def becomes(self, overall: str, within: float = LIMIT_SECONDS) -> None:
        await becomes(self.overall, overall, within, pause=0.1)


async def start(processes: Processes, dsn: str) -> Platform:
    """Start all three, and wait until the page is green."""
    platform = Platform(
        daemon=await processes.start_billing_daemon(dsn),
        # This test asks more often than the limits allow one visitor.
        web=await processes.start_web(dsn, RATE_LIMIT_ANONYMOUS="100000/minute"),
        aggregator=await processes.start_stats_aggregator(dsn),
    )
    await platform.becomes("operational")
    return platform


async def test_a_frozen_database_is_recorded_as_an_outage(
    own_postgres: EmbeddedPostgres, processes: Processes
) -> None:
    dsn = own_postgres.dsn()
    migrate(dsn)
    platform = await start(processes, dsn)
    assert own_postgres.pid is not None
    with frozen_server(own_postgres.pid):
        await eventually(lambda: is_down(platform, "database"))
        await time_passes(FREEZE_SECONDS)

    connection = await databases.connect(dsn)
    await eventually(lambda: bad_minutes(connection), promises.WATCHED_SECONDS, pause=0.1)
    await connection.close()
    await platform.becomes("operational", promises.WATCHED_SECONDS)
    # One that starts now reads the record at once, the other one within half a minute.
    platform.web = await processes.start_web(dsn)
    components = await platform.components()
    assert [name for name, each in components.items() if each["days"][-1]["down"]] == ["database"]
    uptime = components["database"]["uptime"][0]
    assert float(uptime["percent"]) < 100


async def is_down(platform: Platform, component: str) -> bool:
    return str((await platform.components())[component]["state"]) == "down"


async def test_a_frozen_aggregator_is_reported_and_records_no_outage_when_it_thaws(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    platform = await start(processes, database_url)
    with frozen(platform.aggregator.pid):
        # What has to be folded waits all that time.
        await fleet.add_instance(connection)
        await platform.becomes("no_data", promises.WATCHED_SECONDS + promises.SHOWN_SECONDS)
        await becomes(lambda: headline(platform.web), "Monitoring is interrupted")
    said: set[str] = set()

    async def green_again() -> bool:
        said.add(await platform.overall())
        return "operational" in said

    await eventually(green_again, promises.SUCCEEDED_SECONDS)
    # A look later, it still is.
    checked_at = await connection.fetchval("select max(checked_at) from component_states")

    async def looked_again() -> bool:
        said.add(await platform.overall())
        query = "select min(checked_at) > $1 from component_states"
        return bool(await connection.fetchval(query, checked_at))

    await eventually(looked_again, pause=0.1)
    assert said <= {"no_data", "operational"}
    states = await connection.fetch("select distinct state from component_states")
    assert [row["state"] for row in states] == ["operational"]
    assert await bad_minutes(connection) == []


async def bad_minutes(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        "select component, started_at, degraded, down from component_history"
        " where resolution_minutes = 1 and degraded + down > 0"
    )
    return [tuple(row) for row in rows]
