"""What the command line refuses before it looks at any database."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from containerstacks_shared.cli import main
from containerstacks_shared.cli.application import SUMMARIES, load

NOT_RUNNING = "postgresql://127.0.0.1:1/nothing"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["containerstacks", *arguments])
    with pytest.raises(SystemExit) as exited:
        main()
    assert isinstance(exited.value.code, int)
    return exited.value.code


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
def test_a_wrong_use_exits_with_2_and_touches_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", NOT_RUNNING)
    assert run(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--port", "http"], "Invalid value for '--port': 'http' is not an integer"),
        (["incident", "update", "first"], "Invalid value for 'ID': 'first' is not an integer"),
        (["demo", "simulate", "--rate", "fast"], "Invalid value for '--rate': 'fast' is not a number"),
        (["admin", "api-key", "revoke", "mine"], "Invalid value for 'ID': 'mine' is not a UUID"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert said in capsys.readouterr().err


def test_every_command_explains_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    listed = capsys.readouterr().out
    for command in ("up", "migrate", "demo", "admin", "verify", "wallet", "billing"):
        assert command in listed


@pytest.mark.parametrize("group", ["admin", "alerts", "billing", "demo", "incident", "maintenance", "wallet"])
def test_no_command_is_explained_by_half_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], group: str
) -> None:
    assert run(monkeypatch, group, "--help") == 0
    _, commands = capsys.readouterr().out.split("Commands:")
    assert commands.strip()
    assert "..." not in commands


def test_a_command_without_a_database_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("DATABASE_URL", "DATABASE_URL_FILE"):
        monkeypatch.delenv(variable, raising=False)
    assert run(monkeypatch, "migrate") == 2
    assert capsys.readouterr().err == (
        "error: DATABASE_URL: is not set, and no `containerstacks up` (`make up`) runs in this folder or above it"
        " (expected postgresql://user:password@host:5432/database)\n"
    )


def test_a_wrong_variable_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", NOT_RUNNING)
    monkeypatch.setenv("LOG_LEVEL", "loud")
    assert run(monkeypatch, "migrate") == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: LOG_LEVEL: 'loud'")
    assert captured.count("\n") == 1


@pytest.mark.parametrize("command", ["migrate", "psql"])
@pytest.mark.parametrize("url", [f"{NOT_RUNNING}?schema=public", "postgresql://ada:sesame@[::1]x/nothing"])
def test_an_address_that_libpq_refuses_is_one_line_without_the_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert run(monkeypatch, command) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: DATABASE_URL: ")
    assert captured.count("\n") == 1
    assert "sesame" not in captured


def test_a_short_password_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert run(monkeypatch, "admin", "create", "--email", "ada@example.com", "--password-stdin") == 1
    captured = capsys.readouterr().err
    assert "8 to" in captured
    assert "short" not in captured


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_password_that_is_no_text_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, errors: str
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = io.TextIOWrapper(io.BytesIO(b"pass\xff\xfeword12345678\n"), encoding="utf-8", errors=errors)
    monkeypatch.setattr(sys, "stdin", typed)
    assert run(monkeypatch, "admin", "create", "--email", "ada@example.com", "--password-stdin") == 1
    assert capsys.readouterr().err == "error: this password is no text in UTF-8\n"


@pytest.mark.parametrize("name", SUMMARIES)
def test_help_lists_each_command_with_its_own_words(name: str) -> None:
    assert load(name).help.splitlines()[0] == SUMMARIES[name]


def test_help_imports_neither_database_nor_web_libraries() -> None:
    heavy = {"aiohttp", "alembic", "asyncpg", "psycopg", "pydantic", "rich", "sqlalchemy"}
    script = f"import sys, containerstacks_shared.cli.application; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
