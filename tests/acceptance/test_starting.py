"""SIGTERM ends every service cleanly, and no secret leaves it."""

import asyncio
import contextlib
import resource
import signal
from pathlib import Path

import asyncpg
import pytest

from support.dark_proxy import dark_proxy
from support.live_page import open_page
from support.processes import PORT_VARIABLES, Processes
from support.waiting import eventually, time_limit

FILES = 256


@pytest.mark.parametrize("command", sorted(PORT_VARIABLES))
async def test_a_service_waits_for_a_database_that_is_not_there_yet(
    database_url: str, processes: Processes, command: str
) -> None:
    async with dark_proxy(database_url) as proxy:
        proxy.cut()
        service = await processes.launch(command, proxy.dsn)
        async with time_limit(f"{command} asked for no database"):
            await proxy.hung_up.wait()
        proxy.go_light()
        await service.ready()


async def test_web_keeps_more_browsers_than_it_was_given_files(
    database_url: str, processes: Processes
) -> None:
    given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The service inherits it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, most))
    try:
        web = await processes.launch("containerstacks-web", database_url, WS_CLIENTS_PER_ADDRESS="1000")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given, most))
    await web.ready()
    async with contextlib.AsyncExitStack() as pages:
        for _ in range(FILES):
            await (await pages.enter_async_context(open_page(web))).next()
        assert await web.get_json("/api/health")


async def test_stopping_ends_every_service_cleanly_and_leaves_no_session(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    services = [
        await processes.start_web(database_url),
        await processes.start_billing_daemon(database_url),
        await processes.start_stats_aggregator(database_url),
    ]
    for service in services:
        service.signal(signal.SIGTERM)
    for service in services:
        assert await service.exited() == 0, service.log
        assert "Traceback" not in service.log

    async def no_session_left() -> bool:
        others = await connection.fetchval(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
        assert others == 0
        return True

    await eventually(no_session_left)
    assert await connection.fetchval("select max(heartbeat_at) from billing_daemon_status") is None


async def test_an_aggregator_in_the_dark_stops_cleanly(database_url: str, processes: Processes) -> None:
    async with dark_proxy(database_url) as proxy:
        aggregator = await processes.start_stats_aggregator(proxy.dsn)
        proxy.go_dark()
        assert await aggregator.terminate() == 0, aggregator.log


async def test_the_daemon_writes_its_state_into_its_status_file(
    database_url: str, processes: Processes
) -> None:
    # What a daemon left that was killed while it wrote.
    leftover = processes.status_file.with_name(f".{processes.status_file.name}.x")
    leftover.touch()
    daemon = await processes.start_billing_daemon(database_url)
    assert not leftover.exists()
    status = await eventually(processes.read_status_file)
    assert status.keys() == {
        "status",
        "lastRun",
        "lastSuccessfulRun",
        "instancesBilled",
        "totalHours",
        "nextScheduledRun",
        "instanceId",
        "pid",
        "version",
    }
    assert status["pid"] == daemon.pid
    assert await daemon.terminate() == 0, daemon.log
    stopped = processes.read_status_file()
    assert stopped is not None
    assert stopped["status"] == "stopped"
    assert stopped["lastSuccessfulRun"] is not None


async def test_no_secret_is_in_a_process_list_or_a_log(database_url: str, processes: Processes) -> None:
    secrets = {
        "SESSION_SECRET": "session-secret-0123456789-0123456789",
        "JWT_SECRET": "jwt-secret-0123456789",
        "METRICS_TOKEN": "metrics-token-0123456789",
        "REDIS_URL": "redis://:redis-password@127.0.0.1:1/0",
    }
    web = await processes.start_web(database_url, LOG_LEVEL="debug", **secrets)
    await web.get_json("/api/health/stats", Authorization="Bearer sk_live_wrong")
    listed = await asyncio.to_thread(Path(f"/proc/{web.pid}/cmdline").read_text)
    for secret in (*secrets.values(), "redis-password"):
        assert secret not in listed + web.log
