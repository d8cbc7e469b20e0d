"""systemd's own opinion of the units."""

import asyncio
import os
import shlex
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from containerstacks_billing_daemon import installing
from containerstacks_billing_daemon.platforms import linux
from containerstacks_billing_daemon.platforms.installation import Command, Question
from support.packages import find_program, needs

SYSTEMD = Path(__file__).parents[3] / "deploy" / "systemd"
UNITS = sorted(path.name for path in SYSTEMD.glob("*.service"))
ANALYZER = find_program("systemd")
# 1.3, as systemd-analyze counts: 0 is a service that can do nothing, 10 one that can do everything.
EXPOSURE_TENTHS_MAX = 13
# What a service is denied begins with this line.
SANDBOX = "\nNoNewPrivileges="

needs_systemd = needs("systemd")


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A shipped unit, with the folder of the tests' own commands in place of /opt."""
    text = (SYSTEMD / request.param).read_text(encoding="utf-8")
    environment = str(linux.EXECUTABLE.parent)
    assert environment in text
    path = tmp_path / str(request.param)
    path.write_text(text.replace(environment, str(Path(sys.executable).parent)), encoding="utf-8")
    return path


async def analyze(*arguments: str) -> tuple[int | None, str]:
    assert ANALYZER is not None
    process = await asyncio.create_subprocess_exec(ANALYZER, *arguments, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@needs_systemd
async def test_systemd_accepts_each_unit(unit: Path) -> None:
    assert await analyze("verify", str(unit)) == (0, "")


@needs_systemd
async def test_a_service_can_do_little_beyond_its_work(unit: Path) -> None:
    threshold = f"--threshold={EXPOSURE_TENTHS_MAX}"
    exit_code, output = await analyze("security", "--offline=yes", "--no-pager", threshold, str(unit))
    assert exit_code == 0, output


@pytest.mark.parametrize("name", ["containerstacks-billing-daemon.service", "containerstacks-web.service"])
def test_stopping_a_biller_does_not_stop_a_debt_hook_halfway(name: str) -> None:
    # By default systemd signals every process of the unit.
    assert "KillMode=mixed" in (SYSTEMD / name).read_text(encoding="utf-8").splitlines()


def test_all_services_are_denied_the_same() -> None:
    denied = {(SYSTEMD / name).read_text(encoding="utf-8").partition(SANDBOX)[2] for name in UNITS}
    (only,) = denied
    assert only


def test_the_port_in_a_units_name_wins_over_the_one_in_the_settings() -> None:
    drop_in = (SYSTEMD / "containerstacks-web@.service.d" / "port.conf").read_text(encoding="utf-8")
    command = drop_in.rpartition("\nExecStart=")[2].strip()
    program = str(linux.EXECUTABLE.with_name("containerstacks-web"))
    assert command.endswith(program)
    started = subprocess.run(
        shlex.split(command.replace("%i", "8090").replace(program, "printenv PORT")),
        # What EnvironmentFile= has read.
        env={**os.environ, "PORT": "8080"},
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert started.stdout == "8090\n"


@needs_systemd
async def test_systemd_accepts_a_web_process_on_another_port(tmp_path: Path) -> None:
    environment = str(linux.EXECUTABLE.parent)
    drop_in = Path("containerstacks-web@.service.d", "port.conf")
    (tmp_path / drop_in.parent).mkdir()
    for shipped, copy in (
        ("containerstacks-web.service", "containerstacks-web@.service"),
        (drop_in, drop_in),
    ):
        text = (SYSTEMD / shipped).read_text(encoding="utf-8")
        (tmp_path / copy).write_text(
            text.replace(environment, str(Path(sys.executable).parent)), encoding="utf-8"
        )
    assert await analyze("verify", str(tmp_path / "containerstacks-web@8090.service")) == (0, "")


class RealSystemd:
    """Runs what can be run on a folder that no system has booted from, and remembers the rest."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.not_run: list[str] = []

    def run(self, command: Command) -> int:
        program, *words = command
        if program == "install":
            (self._root / words[-1].removeprefix("/")).mkdir(mode=0o700, parents=True, exist_ok=True)
            return 0
        if program == "systemd-sysusers":
            return self._call("systemd-sysusers", "--dry-run", *words)
        if words[0] in {"enable", "disable", "is-enabled"}:
            return self._call("systemctl", *(word for word in words if word != "--now"))
        self.not_run.append(" ".join(command))
        return 0

    def ask(self, question: Question) -> bool:
        return question.command[1] == "is-enabled" and self.run(question.command) == 0

    def _call(self, program: str, *words: str) -> int:
        called = subprocess.run(
            [program, f"--root={self._root}", *words], capture_output=True, timeout=60, check=False
        )
        return called.returncode


@needs_systemd
def test_systemd_enables_the_unit_and_forgets_it_after_uninstall(tmp_path: Path) -> None:
    installation = linux.installation(linux.EXECUTABLE)
    systemd = RealSystemd(tmp_path)
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants" / linux.UNIT

    installing.install(installation, say=print, run=systemd.run, root=tmp_path)
    assert wanted.is_symlink()
    described = installing.describe(installation, ask=systemd.ask, root=tmp_path)
    assert described == "installed, enabled, not active"

    installing.uninstall(installation, say=print, run=systemd.run, root=tmp_path)
    assert not wanted.is_symlink()
    assert installing.describe(installation, ask=systemd.ask, root=tmp_path) == "not installed"
    assert systemd.not_run == ["systemctl daemon-reload"] * 2
