"""`containerstacks up`: everything on one machine, from nothing, until Ctrl-C."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from acceptance.up import Up
from containerstacks_shared.fleet.passwords import verify_password
from support.processes import free_port
from support.waiting import eventually

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="containerstacks-up-") as name:
        # Root's PostgreSQL runs as somebody else, who must get in.
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
async def up(folder: Path) -> AsyncIterator[Up]:
    up = Up(folder)
    yield up
    await up.end()


def ask(up: Up, query: str) -> tuple[object, ...]:
    dsn = (up.data / "database-url").read_text(encoding="ascii").strip()
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


@pytest.mark.main_path
async def test_up_starts_from_nothing_to_a_live_page_and_leaves_nothing_running(up: Up) -> None:
    await up.start()
    status, page = await up.get("/status")
    assert status == 200
    # Near 480: the demo's fleet grows and shrinks from its first second on.
    assert re.search(r">4[789]\d<", page)
    assert f"{up.url}/status" in up.output
    # What is printed leads to a page that is looked after.
    _, components = await up.get("/api/status/components")
    assert "no_data" not in {each["state"] for each in json.loads(components)["components"]}

    # The demo lives.
    before = (await up.statistics())["byStatus"]

    async def changed() -> bool:
        now = await up.statistics()
        assert sum(now["byStatus"].values()) == now["total"]
        return bool(now["byStatus"] != before)

    await eventually(changed)

    # The administrator that it prints is there, and the password nowhere but in the data folder.
    found = re.search(r"as (\S+@\S+), password (\S+)", up.output)
    assert found is not None
    email, password = found.groups()
    password_hash, role = ask(up, f"select password_hash, role from users where email = '{email}'")
    assert role == "admin"
    assert verify_password(password, str(password_hash)).matches
    kept = up.data / "demo-admin-password"
    assert kept.read_text(encoding="ascii").strip() == password
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    # Billing has run, and left its status file.
    status_file = json.loads((up.data / "billing-daemon.json").read_text(encoding="utf-8"))
    assert status_file["status"] == "running"

    assert await up.stop(signal.SIGINT) == 0
    assert up.output.endswith("Stopped.\n")
    await up.nothing_is_left()
    assert not (up.data / "database-url").exists()

    # A second start finds everything again, and seeds nothing.
    await up.start()
    assert "Making up a demo fleet" not in up.output
    assert f"password {password}" in up.output
    assert ask(up, "select count(*) from organizations") == (12,)
    assert await up.stop(signal.SIGTERM) == 0
    await up.nothing_is_left()


async def test_a_service_that_dies_is_started_again(up: Up) -> None:
    await up.start()
    first = up.children
    for pid in first.values():
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not set(first.values()) & set(up.children.values()))
    await eventually(lambda: up.output.count("killed by SIGKILL; starting again") == 3)
    await eventually(lambda: up.answers("/readyz"))
    assert (await up.get("/status"))[0] == 200
    assert await up.stop() == 0
    await up.nothing_is_left()


async def test_a_postgresql_that_dies_is_started_again(up: Up) -> None:
    await up.start("--no-demo")
    pid = (up.data / "postgresql" / "postmaster.pid").read_text(encoding="utf-8").split()[0]
    os.kill(int(pid), signal.SIGKILL)
    await up.says("PostgreSQL ended; starting it again")

    async def recovered() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            return bool(await up.answers("/readyz")) and ask(up, "select 1") == (1,)
        return False

    await eventually(recovered)
    assert await up.stop() == 0
    await up.nothing_is_left()


async def test_up_starts_again_after_it_was_killed(up: Up) -> None:
    await up.start("--no-demo")
    first = set(up.processes())
    os.kill(up.pid, signal.SIGKILL)
    # At once: what it left may still be ending.
    await up.start("--no-demo")
    assert not first & set(up.processes())
    assert (await up.get("/status"))[0] == 200
    assert await up.stop() == 0
    await up.nothing_is_left()


async def test_programs_of_a_killed_up_end_by_themselves(up: Up) -> None:
    await up.start("--no-demo")
    os.kill(up.pid, signal.SIGKILL)
    await up.nothing_is_left()


async def test_a_second_up_in_the_same_place_is_refused_in_one_line(up: Up) -> None:
    await up.start("--no-demo")
    # Without the demo: no fleet, no administrator.
    assert "Sign in" not in up.output
    assert (await up.statistics())["total"] == 0
    assert ask(up, "select count(*) from users") == (0,)
    second = Up(up.folder)
    code, said = await second.run("--no-demo")
    assert code == 1
    assert said == f"error: already running as process {up.pid}, which holds {up.data}\n"
    assert (await up.get("/status"))[0] == 200
    assert await up.stop() == 0


async def test_ctrl_c_during_preparation_stops_it(up: Up) -> None:
    await up.begin()
    await up.says("PostgreSQL runs")
    assert await up.stop() == 0
    await up.nothing_is_left()
    await up.start("--no-demo")
    assert await up.stop() == 0


async def test_closing_its_terminal_ends_it_below_a_session_leader(up: Up) -> None:
    terminal = await up.begin_below_a_leader("--no-demo")
    await up.says("Ctrl-C stops everything.")
    os.close(terminal)
    await up.ended()
    await up.nothing_is_left()


async def test_one_port_moves_all_three(up: Up) -> None:
    for name in ("PORT", "BILLING_DAEMON_PORT", "STATS_AGGREGATOR_PORT"):
        del up.environment[name]
    port = free_port(in_a_row=3)
    await up.start("--no-demo", "--port", str(port))
    for following in range(3):
        up.environment["PORT"] = str(port + following)
        assert await up.answers("/readyz")
    assert await up.stop() == 0


async def test_starting_takes_nothing_from_the_limit_of_visitors(up: Up) -> None:
    up.environment["RATE_LIMIT_ANONYMOUS"] = "1/1 minute"
    await up.start("--no-demo")
    assert [(await up.get("/api/health"))[0] for _ in range(2)] == [200, 429]
    assert await up.stop() == 0


async def test_the_printed_lines_make_an_administrator_from_anywhere(up: Up) -> None:
    await up.start("--no-demo")
    (commands,) = re.findall(r"^  Commands +(.+)$", up.output, re.MULTILINE)
    (create,) = re.findall(r"^  (containerstacks admin create .+)$", up.output, re.MULTILINE)
    said = await asyncio.to_thread(typing, f"{commands} && {create}", ["correct horse battery"] * 2)
    assert "Created the administrator you@example.com." in said
    assert ask(up, "select email, role from users") == ("you@example.com", "admin")
    assert await up.stop() == 0


def typing(line: str, answers: list[str]) -> str:
    """Run a line of a shell in a terminal, in another folder, and answer its questions; return what it said."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir("/")
        os.execve("/bin/sh", ["sh", "-c", line], {"PATH": os.defpath})
    said = ""
    with os.fdopen(terminal, "r+b", buffering=0) as screen, contextlib.suppress(OSError):
        # Reading fails when the line has ended.
        while piece := screen.read(1024):
            said += piece.decode()
            if answers and said.endswith(": "):
                screen.write(answers.pop(0).encode() + b"\n")
    os.waitpid(pid, 0)
    return said


def runbook_commands() -> list[str]:
    """Return every command of docs/runbook.md in which the reader has nothing to fill in."""
    rows = [line for line in RUNBOOK.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    found = [command for row in rows for command in re.findall(r"`(containerstacks[^`]*)`", row)]
    return [command for command in found if not re.search(r"\b(ID|FILE)\b", command)]


@pytest.mark.timeout(600)
async def test_the_runbooks_commands_work(up: Up) -> None:
    await up.start()
    below = up.folder / "below"
    below.mkdir()
    failed = {}
    commands = runbook_commands()
    assert commands
    for command in commands:
        ended = await up.shell(command, folder=below)
        # No receiver is set, and the message says so.
        expected = 2 if command == "containerstacks alerts test" else 0
        if ended[0] != expected:
            failed[command] = ended
    assert failed == {}
    assert await up.stop() == 0


async def test_a_given_database_is_used_and_left_running(up: Up, empty_database_url: str) -> None:
    up.environment["DATABASE_URL"] = empty_database_url
    await up.start()
    assert (await up.statistics())["total"] > 400
    assert not (up.data / "postgresql").exists()
    assert await up.stop() == 0
    await up.nothing_is_left()
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select count(*) from organizations").fetchone() == (12,)


async def test_a_database_with_data_of_its_own_gets_no_demo(up: Up, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into vps_plans (name, provider_plan_id, base_price) values ('Nano', 'nano', 5)"
        )
    up.environment["DATABASE_URL"] = database_url
    await up.start()
    assert "no demo fleet, no demo administrator" in up.output
    assert (await up.statistics())["total"] == 0
    assert await up.stop() == 0
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from users").fetchone() == (0,)


# Read by a service alone, when everything else runs already.
@pytest.mark.parametrize(
    ("variable", "value"),
    [("RATE_LIMIT_ANONYMOUS", "plenty"), ("STATUS_FILE_PATH", "/dev/null/billing-daemon.json")],
)
async def test_a_setting_that_a_service_refuses_ends_all_with_one_line(
    up: Up, variable: str, value: str
) -> None:
    up.environment[variable] = value
    code, said = await up.run()
    assert code == 2, said
    await up.nothing_is_left()
    (line,) = (line for line in said.splitlines() if "error:" in line)
    assert line.startswith(f"error: {variable}: ")
    assert "Traceback" not in said
    assert said.endswith(line + "\n")
