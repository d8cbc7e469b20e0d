"""What keeps `containerstacks up` from starting is one line, and nothing is left of the attempt."""

import socket
from pathlib import Path

import pytest

from support.commands import RunCommand
from support.processes import LOCALHOST, PORT_VARIABLES, free_port

DATA = Path(".containerstacks")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give what an `up` in an empty folder is started with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("MAKELEVEL", raising=False)
    return {variable: str(free_port()) for variable in PORT_VARIABLES.values()}


def refused(run_command: RunCommand, environment: dict[str, str], *arguments: str) -> str:
    finished = run_command("containerstacks", "up", *arguments, **environment)
    assert finished.exit_code != 0
    (line,) = finished.errors.splitlines()
    assert line.startswith("error: ")
    assert not (DATA / "postgresql").exists()
    return line


@pytest.mark.parametrize("variable", sorted(PORT_VARIABLES.values()))
def test_a_busy_port(run_command: RunCommand, environment: dict[str, str], variable: str) -> None:
    with socket.create_server((LOCALHOST, int(environment[variable]))):
        line = refused(run_command, environment)
    assert line.startswith(
        f"error: {variable}: {LOCALHOST}:{environment[variable]} is in use by another process"
    )


def test_a_busy_port_given_as_an_option(run_command: RunCommand, environment: dict[str, str]) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        port = server.getsockname()[1]
        line = refused(run_command, environment, "--port", str(port))
    assert line.startswith(f"error: PORT: {LOCALHOST}:{port} is in use")


def test_an_unreachable_database(run_command: RunCommand, environment: dict[str, str]) -> None:
    url = "postgresql://somebody:secret@127.0.0.1:1/nothing"
    line = refused(run_command, environment | {"DATABASE_URL": url})
    assert "cannot be reached" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "many"),
        ("BILLING_INTERVAL_MINUTES", "0"),
        ("LOG_LEVEL", "loud"),
        ("DATABASE_URL", "nonsense"),
    ],
)
def test_a_wrong_variable(
    run_command: RunCommand, environment: dict[str, str], variable: str, value: str
) -> None:
    assert variable in refused(run_command, environment | {variable: value})


def test_a_place_that_cannot_be_written(run_command: RunCommand, environment: dict[str, str]) -> None:
    # Also for root, whom permissions do not stop.
    DATA.touch()
    line = refused(run_command, environment)
    assert line == f"error: cannot write to {DATA.absolute()}: File exists"
