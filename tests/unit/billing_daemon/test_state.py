"""Judging by the status file, for when the database cannot be asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from containerstacks_billing_daemon import state
from containerstacks_billing_daemon.status_file import FileStatus, StatusDocument, StatusFile


def written(path: Path, *, status: FileStatus, pid: int) -> Path:
    StatusFile(path).write(StatusDocument(status=status, instance_id=f"host-{pid}", pid=pid, version="0.1.0"))
    return path


@pytest.fixture(scope="module")
def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("status", "alive"),
    [(FileStatus.RUNNING, True), (FileStatus.ERROR, True), (FileStatus.STOPPED, False)],
)
def test_a_process_that_is_there_is_as_alive_as_the_file_says(
    tmp_path: Path, status: FileStatus, *, alive: bool
) -> None:
    path = written(tmp_path / "status.json", status=status, pid=os.getpid())
    found = state.read_from_file([tmp_path / "absent.json", path])
    assert found is not None
    assert found.alive is alive
    assert found.lines[:2] == [f"According to {path}:", f"status            {status.value}"]


def test_a_killed_process_is_not_alive_whatever_its_file_says(tmp_path: Path, dead_pid: int) -> None:
    path = written(tmp_path / "status.json", status=FileStatus.RUNNING, pid=dead_pid)
    found = state.read_from_file([path])
    assert found is not None
    assert not found.alive
    assert "status            stopped" in found.lines


def test_without_a_file_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert state.read_from_file([tmp_path / "absent.json"]) is None
