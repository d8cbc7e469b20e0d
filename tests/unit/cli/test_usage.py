"""What the command line refuses before it looks at any database."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from containerstacks_shared.cli.application import SUMMARIES, load
from support.commands import RunCommand

NOT_RUNNING = "postgresql://127.0.0.1:1/nothing"


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["up", "--port", "0"],
        ["up", "--port", "65536"],
        ["demo", "seed", "--vps", "0"],
        ["demo", "simulate", "--rate", "0"],
        ["admin", "create"],
        ["admin", "api-key"],
        ["admin", "api-key", "--email", "nobody"],
        ["admin", "api-key", "--email", "a@example.com", "--scope", "everything"],
        ["admin", "api-key", "--email", "a@example.com", "--expires-days", "0"],
        ["admin", "api-key", "revoke", "nonsense"],
        ["admin", "sign-out"],
        ["wallet", "credit", "--organization", "acme", "--amount", "ten", "--reference", "r"],
        ["wallet", "credit", "--organization", "acme", "--amount", "-1", "--reference", "r"],
        ["wallet", "credit", "--organization", "acme", "--amount", "0", "--reference", "r"],
        ["wallet", "credit", "--organization", "acme", "--amount", "0.123456789", "--reference", "r"],
        ["wallet", "credit", "--organization", "acme", "--amount", "1"],
        ["wallet", "credit", "--organization", "acme", "--amount", "1", "--reference", " "],
        ["billing", "pause"],
        ["billing", "pause", "--reason", " "],
        ["billing", "release", "--plan", "7"],
        ["wallet", "explain", "--reason", "r"],
        ["wallet", "explain", "--entry", "7"],
        ["wallet", "explain", "--entry", "7", "--all", "--reason", "r"],
        ["billing", "refund", "--reason", "r"],
        ["billing", "refund", "--run", "7"],
        ["billing", "refund", "--run", "0", "--reason", "r"],
        ["billing", "refund", "--run", "7", "--cycle", "0" * 32, "--reason", "r"],
        ["billing", "write-off", "--reason", "r"],
        ["billing", "write-off", "--organization", "acme", "--instance", "0" * 32, "--reason", "r"],
        ["billing", "statement", "--organization", "acme"],
        ["billing", "statement", "--organization", "acme", "--month", "2031-13"],
        ["billing", "statement", "--organization", "acme", "--month", "2031-03", "--format", "pdf"],
        ["billing", "runs", "--limit", "0"],
    ],
)
def test_a_wrong_use_exits_with_2_and_touches_nothing(run_command: RunCommand, arguments: list[str]) -> None:
    finished = run_command("containerstacks", *arguments, DATABASE_URL=NOT_RUNNING)
    assert (finished.exit_code, finished.output) == (2, "")
    assert "Traceback" not in finished.errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--port", "http"], "Invalid value for '--port': 'http' is not an integer"),
        (["incident", "update", "first"], "Invalid value for 'ID': 'first' is not an integer"),
        (["demo", "simulate", "--rate", "fast"], "Invalid value for '--rate': 'fast' is not a number"),
        (["admin", "api-key", "revoke", "mine"], "Invalid value for 'ID': 'mine' is not a UUID"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(run_command: RunCommand, arguments: list[str], said: str) -> None:
    finished = run_command("containerstacks", *arguments)
    assert finished.exit_code == 2
    assert said in finished.errors


def test_every_command_explains_itself(run_command: RunCommand) -> None:
    finished = run_command("containerstacks", "--help")
    assert finished.exit_code == 0
    for command in ("up", "migrate", "demo", "admin", "verify", "wallet", "billing"):
        assert command in finished.output


@pytest.mark.parametrize("group", ["admin", "alerts", "billing", "demo", "incident", "maintenance", "wallet"])
def test_no_command_is_explained_by_half_a_sentence(run_command: RunCommand, group: str) -> None:
    finished = run_command("containerstacks", group, "--help")
    assert finished.exit_code == 0
    _, commands = finished.output.split("Commands:")
    assert commands.strip()
    assert "..." not in commands


def test_a_command_without_a_database_says_where_it_looked(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("DATABASE_URL", "DATABASE_URL_FILE"):
        monkeypatch.delenv(variable, raising=False)
    finished = run_command("containerstacks", "migrate")
    assert finished.exit_code == 2
    assert finished.errors == (
        "error: DATABASE_URL: is not set, and no `containerstacks up` (`make up`) runs in this folder or above it"
        " (expected postgresql://user:password@host:5432/database)\n"
    )


def test_a_wrong_variable_is_one_line_that_names_it(run_command: RunCommand) -> None:
    finished = run_command("containerstacks", "migrate", DATABASE_URL=NOT_RUNNING, LOG_LEVEL="loud")
    assert finished.exit_code == 2
    assert finished.errors.startswith("error: LOG_LEVEL: 'loud'")
    assert finished.errors.count("\n") == 1


@pytest.mark.parametrize("command", ["migrate", "psql"])
@pytest.mark.parametrize("url", [f"{NOT_RUNNING}?schema=public", "postgresql://ada:sesame@[::1]x/nothing"])
def test_an_address_that_libpq_refuses_is_one_line_without_the_address(
    run_command: RunCommand, command: str, url: str
) -> None:
    finished = run_command("containerstacks", command, DATABASE_URL=url)
    assert finished.exit_code == 2
    assert finished.errors.startswith("error: DATABASE_URL: ")
    assert finished.errors.count("\n") == 1
    assert "sesame" not in finished.errors


CREATE = ("containerstacks", "admin", "create", "--email", "ada@example.com", "--password-stdin")


def test_a_short_password_is_refused(run_command: RunCommand) -> None:
    finished = run_command(*CREATE, typed="short\n")
    assert finished.exit_code == 1
    assert "8 to" in finished.errors
    assert "short" not in finished.errors


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_password_that_is_no_text_is_refused(run_command: RunCommand, errors: str) -> None:
    typed = io.TextIOWrapper(io.BytesIO(b"pass\xff\xfeword12345678\n"), encoding="utf-8", errors=errors)
    finished = run_command(*CREATE, typed=typed)
    assert (finished.exit_code, finished.errors) == (1, "error: this password is no text in UTF-8\n")


@pytest.mark.parametrize("name", SUMMARIES)
def test_help_lists_each_command_with_its_own_words(name: str) -> None:
    assert load(name).help.splitlines()[0] == SUMMARIES[name]


def test_help_imports_neither_database_nor_web_libraries() -> None:
    heavy = {"aiohttp", "alembic", "asyncpg", "psycopg", "pydantic", "rich", "sqlalchemy"}
    script = f"import sys, containerstacks_shared.cli.application; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
