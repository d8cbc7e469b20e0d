"""systemd's own opinion of the units."""

import asyncio
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from containerstacks_billing_daemon.platforms import linux

SYSTEMD = Path(__file__).parents[3] / "deploy" / "systemd"
ANALYZER = shutil.which("systemd-analyze")


@pytest.mark.skipif(ANALYZER is None, reason="systemd-analyze is not installed (Debian: systemd)")
@pytest.mark.parametrize("unit", sorted(path.name for path in SYSTEMD.glob("*.service")))
async def test_systemd_finds_nothing_to_say_about_a_unit(tmp_path: Path, unit: str) -> None:
    # It also looks whether the command is there, so the environment that runs the tests stands for /opt.
    text = (SYSTEMD / unit).read_text(encoding="utf-8")
    environment = str(linux.EXECUTABLE.parent)
    assert environment in text
    path = tmp_path / unit
    path.write_text(text.replace(environment, str(Path(sys.executable).parent)), encoding="utf-8")

    assert ANALYZER is not None
    process = await asyncio.create_subprocess_exec(ANALYZER, "verify", path, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate()

    assert (process.returncode, output.decode()) == (0, "")
