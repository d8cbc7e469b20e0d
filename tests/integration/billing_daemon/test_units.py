"""systemd's own opinion of the units."""

import asyncio
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from containerstacks_billing_daemon.platforms import linux

SYSTEMD = Path(__file__).parents[3] / "deploy" / "systemd"
UNITS = sorted(path.name for path in SYSTEMD.glob("*.service"))
ANALYZER = shutil.which("systemd-analyze")
# 1.3, as systemd-analyze counts: 0 is a service that can do nothing, 10 one that can do everything.
EXPOSURE_TENTHS_MAX = 13
# What a service is denied begins with this line.
SANDBOX = "\nNoNewPrivileges="

needs_systemd = pytest.mark.skipif(
    ANALYZER is None, reason="systemd-analyze is not installed (Debian: systemd)"
)


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit as it is shipped, but for the folder of its command: the one that runs the tests stands for /opt."""
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
async def test_systemd_finds_nothing_to_say_about_a_unit(unit: Path) -> None:
    assert await analyze("verify", str(unit)) == (0, "")


@needs_systemd
async def test_a_service_can_do_little_beyond_its_work(unit: Path) -> None:
    threshold = f"--threshold={EXPOSURE_TENTHS_MAX}"
    exit_code, output = await analyze("security", "--offline=yes", "--no-pager", threshold, str(unit))
    assert exit_code == 0, output


def test_all_services_are_denied_the_same() -> None:
    denied = {(SYSTEMD / name).read_text(encoding="utf-8").partition(SANDBOX)[2] for name in UNITS}
    (only,) = denied
    assert only
