"""The daemon is killed while it writes its status file."""

import signal
from pathlib import Path

import pytest

from containerstacks_billing_daemon import status_file
from support.processes import Processes

# Put on the daemon's PYTHONPATH: the file is written beside its place, and is not in it yet.
KILLED_BEFORE_REPLACING = """
import os, signal
os.replace = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killing(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "killing"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(KILLED_BEFORE_REPLACING, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


async def test_monitoring_finds_the_last_whole_file_and_the_next_start_tidies_up(
    database_url: str, processes: Processes, killing: dict[str, str]
) -> None:
    path = processes.status_file
    first = await processes.start_billing_daemon(database_url)
    assert await first.terminate() == 0
    told = status_file.read(path)
    assert told is not None

    killed = await processes.launch("containerstacks-billing-daemon", database_url, **killing)
    assert await killed.exited() == -signal.SIGKILL

    assert status_file.read(path) == told
    (leftover,) = path.parent.glob(f".{path.name}.*")
    assert leftover.stat().st_size > 0
    third = await processes.start_billing_daemon(database_url)
    assert not leftover.exists()
    assert await third.terminate() == 0
    told = status_file.read(path)
    assert told is not None
    assert told.pid == third.pid
