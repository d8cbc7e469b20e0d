"""PostgreSQL goes away and comes back: no service exits, pages show the last figures, and all recover."""

import os
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.local.embedded.server import StopMode
from containerstacks_shared.schema import migrate
from support import fleet, promises, roles
from support.live_page import open_page
from support.processes import Processes, Service
from support.waiting import eventually, time_passes

OUTAGE_SECONDS = float(os.environ.get("TEST_OUTAGE_SECONDS", "5"))
# A connection or two may be on their way when we look.
FILES_TOLERATED = 4


@pytest.mark.timeout(120 + OUTAGE_SECONDS)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_database_outage_ends_no_process_and_all_recover_within_five_seconds(
    own_postgres: EmbeddedPostgres, processes: Processes, mode: StopMode
) -> None:
    dsn = own_postgres.dsn()
    migrate(dsn)
    roles.grant(dsn)
    instances = await write_fleet(dsn)
    web = await processes.start_web(dsn)
    daemon = await processes.start_billing_daemon(dsn)
    aggregator = await processes.start_stats_aggregator(dsn)
    services = [web, daemon, aggregator]

    async with open_page(web) as page:
        await page.next_with(running=len(instances))
        await eventually(lambda: daemon_bills(web))
        files_before = [open_files(service) for service in services]

        own_postgres.stop(mode)
        for service in services:
            await eventually(partial(not_ready, service))
        before = await web.get_json("/api/health/stats")
        await time_passes(OUTAGE_SECONDS)
        await assert_alive_and_honest(services, web, before)

        own_postgres.start()
        await change_status(dsn, instances[0])
        await page.next_with(promises.RECOVERED_SECONDS, running=len(instances) - 1, error=1)
        await eventually(lambda: all_recovered(dsn, services), promises.RECOVERED_SECONDS)
        await eventually(lambda: daemon_bills(web), promises.RECOVERED_SECONDS)
        assert page.versions == sorted(set(page.versions))

    after = await web.get_json("/api/health/stats")
    assert after["lastUpdated"] > before["lastUpdated"]
    files_after = [open_files(service) for service in services]
    for earlier, later in zip(files_before, files_after, strict=True):
        assert later <= earlier + FILES_TOLERATED
    for service in services:
        assert await service.terminate() == 0, service.log


async def write_fleet(dsn: str) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    instances = await fleet.add_instances(connection, *["running"] * 8)
    await connection.close()
    return instances


async def change_status(dsn: str, instance: Any) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("update vps_instances set status = 'error' where id = $1", instance)
    await connection.close()


async def assert_alive_and_honest(services: list[Service], web: Service, before: dict[str, Any]) -> None:
    for service in services:
        assert service.running, service.log
        assert (await service.get_json("/healthz")) is not None
        assert await not_ready(service)
    during = await web.get_json("/api/health/stats")
    assert during["vps"] == before["vps"]
    assert during["lastUpdated"] == before["lastUpdated"]
    age = datetime.fromisoformat(during["timestamp"]) - datetime.fromisoformat(during["lastUpdated"])
    assert age.total_seconds() > OUTAGE_SECONDS
    async with aiohttp.ClientSession() as session, session.get(f"{web.url}/status") as response:
        assert response.status == 200
        # The page says when it knew this.
        assert during["lastUpdated"][:19] in await response.text()


async def not_ready(service: Service) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/readyz") as response:
        return response.status == 503


async def all_recovered(dsn: str, services: list[Service]) -> bool:
    for service in services:
        assert not await not_ready(service)
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.fetchval("select count(*) from count_deltas") == 0
        beat_age = await connection.fetchval(
            "select extract(epoch from clock_now() - max(heartbeat_at)) from billing_daemon_status"
        )
        assert beat_age < promises.RECOVERED_SECONDS
    finally:
        await connection.close()
    return True


async def daemon_bills(web: Service) -> bool:
    document = await web.get_json("/api/health/billing-daemon")
    daemon = document["daemon"]
    return (daemon["activeBiller"], daemon["status"]) == ("daemon", "running")


def open_files(service: Service) -> int:
    """Count its open files and sockets, where the kernel lists them."""
    held = Path(f"/proc/{service.pid}/fd")
    return len(list(held.iterdir())) if held.exists() else 0
