"""What keeps a service from starting is one line that names it."""

import socket
from datetime import timedelta

import psycopg
import pytest

from containerstacks_shared.database import db
from support.commands import RunCommand
from support.processes import LOCALHOST, PORT_VARIABLES, free_port

SERVICES = sorted(PORT_VARIABLES)


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    ports = {variable: str(free_port()) for variable in PORT_VARIABLES.values()}
    return {"DATABASE_URL": database_url, "SESSION_SECRET": "only-for-tests-0123456789-0123456789"} | ports


@pytest.fixture
def shifted_clock(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        (name,) = connection.execute("select quote_ident(current_database())").fetchone() or ("",)
        offset = timedelta(hours=5)
        connection.execute(f"alter database {name} set containerstacks.clock_offset = '{offset}'".encode())


@pytest.mark.parametrize("command", SERVICES)
def test_a_wrong_setting(command: str, environment: dict[str, str], run_command: RunCommand) -> None:
    variable = PORT_VARIABLES[command]
    finished = run_command(command, **environment | {variable: "eighty"})
    assert finished.exit_code == 2
    (line,) = finished.errors.strip().splitlines()
    assert line.startswith(f"error: {variable}: ")
    assert "'eighty'" in line
    assert "1..65535" in line


@pytest.mark.parametrize(
    ("variable", "value"), [("STATUS_FILE_PATH", "/dev/null/status.json"), ("ALERT_URLS", "nonsense")]
)
def test_a_wrong_setting_that_only_its_use_shows(
    variable: str, value: str, environment: dict[str, str], run_command: RunCommand
) -> None:
    finished = run_command("containerstacks-billing-daemon", **environment | {variable: value})
    assert finished.exit_code == 2
    (line,) = finished.errors.splitlines()
    assert line.startswith(f"error: {variable}: ")


@pytest.mark.parametrize("command", SERVICES)
def test_a_busy_port(command: str, environment: dict[str, str], run_command: RunCommand) -> None:
    variable = PORT_VARIABLES[command]
    with socket.create_server((LOCALHOST, int(environment[variable]))):
        finished = run_command(command, **environment)
    assert finished.exit_code == 1
    line = finished.errors.strip().splitlines()[-1]
    assert f"{LOCALHOST}:{environment[variable]}" in line
    assert variable in line


@pytest.mark.parametrize("command", SERVICES)
def test_an_unreachable_database(
    command: str, environment: dict[str, str], run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "_START_PATIENCE_SECONDS", 0.0)
    url = "postgresql://user:very-secret@127.0.0.1:1/database"
    finished = run_command(command, **environment | {"DATABASE_URL": url})
    assert finished.exit_code == 1
    assert "127.0.0.1:1" in finished.errors.strip().splitlines()[-1]
    assert "very-secret" not in finished.output + finished.errors


@pytest.mark.parametrize("command", SERVICES)
def test_a_database_that_was_not_migrated(
    command: str, environment: dict[str, str], run_command: RunCommand, empty_database_url: str
) -> None:
    finished = run_command(command, **environment | {"DATABASE_URL": empty_database_url})
    assert finished.exit_code == 1
    assert "containerstacks migrate" in finished.errors


@pytest.mark.usefixtures("shifted_clock")
@pytest.mark.parametrize("command", SERVICES)
def test_a_shifted_clock_outside_of_tests(
    command: str, environment: dict[str, str], run_command: RunCommand
) -> None:
    finished = run_command(command, **environment)
    assert finished.exit_code == 1
    assert "TEST_CLOCK" in finished.errors
