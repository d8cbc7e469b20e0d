"""What keeps a service from starting is told in one line; SIGTERM and SIGINT end it cleanly."""

import asyncio
import signal
import socket
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from support.clock import shift_clock
from support.processes import LOCALHOST, PORT_VARIABLES, Processes
from support.waiting import eventually

SERVICES = sorted(PORT_VARIABLES)


@pytest.mark.parametrize("command", SERVICES)
async def test_a_wrong_setting_is_named_in_one_line(
    database_url: str, processes: Processes, command: str
) -> None:
    variable = PORT_VARIABLES[command]
    finished = await processes.run(command, database_url=database_url, **{variable: "eighty"})
    assert finished.exit_code == 2
    (line,) = finished.errors.strip().splitlines()
    assert variable in line
    assert "'eighty'" in line
    assert "1..65535" in line


@pytest.mark.parametrize("command", SERVICES)
async def test_a_busy_port_is_named_in_one_line(
    database_url: str, processes: Processes, command: str
) -> None:
    with socket.create_server((LOCALHOST, 0)) as taken:
        port = taken.getsockname()[1]
        variable = PORT_VARIABLES[command]
        finished = await processes.run(command, database_url=database_url, **{variable: str(port)})
    assert finished.exit_code == 1
    line = finished.errors.strip().splitlines()[-1]
    assert f"{LOCALHOST}:{port}" in line
    assert variable in line


async def test_an_unreachable_database_is_named_without_its_password(processes: Processes) -> None:
    url = "postgresql://user:very-secret@127.0.0.1:1/database"
    for finished in await asyncio.gather(*(processes.run(command, database_url=url) for command in SERVICES)):
        assert finished.exit_code == 1
        line = finished.errors.strip().splitlines()[-1]
        assert "127.0.0.1:1" in line
        assert "very-secret" not in finished.output + finished.errors


async def test_a_database_that_was_not_migrated_is_refused(
    empty_database_url: str, processes: Processes
) -> None:
    for command in SERVICES:
        finished = await processes.run(command, database_url=empty_database_url)
        assert finished.exit_code == 1
        assert "containerstacks migrate" in finished.errors


async def test_a_shifted_clock_is_refused_outside_of_tests(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    await shift_clock(connection, timedelta(hours=5))
    for command in SERVICES:
        finished = await processes.run(command, database_url=database_url)
        assert finished.exit_code == 1
        assert "TEST_CLOCK" in finished.errors
        service = await processes.launch(command, database_url, TEST_CLOCK="1")
        await service.ready()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_ends_every_service_cleanly_and_leaves_no_session(
    database_url: str, connection: asyncpg.Connection, processes: Processes, number: signal.Signals
) -> None:
    services = [
        await processes.start_web(database_url),
        await processes.start_billing_daemon(database_url),
        await processes.start_stats_aggregator(database_url),
    ]
    for service in services:
        service.signal(number)
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


async def test_the_daemon_tells_its_state_in_its_file(database_url: str, processes: Processes) -> None:
    daemon = await processes.start_billing_daemon(database_url)
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
