"""The status file: written whole or not at all, where it can be."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from containerstacks_billing_daemon import status_file
from containerstacks_billing_daemon.status_file import FileStatus, StatusDocument, StatusFile
from containerstacks_shared.core.errors import ConfigurationError

DOCUMENT = StatusDocument(
    status=FileStatus.RUNNING,
    last_run=datetime(2026, 5, 1, 13, 0, 1, tzinfo=UTC),
    last_successful_run=datetime(2026, 5, 1, 12, 0, 1, tzinfo=UTC),
    instances_billed=12,
    total_hours=Decimal("12.00"),
    next_scheduled_run=datetime(2026, 5, 1, 14, tzinfo=UTC),
    instance_id="host-4711",
    pid=4711,
    version="0.1.0",
)


def test_the_file_has_exactly_the_fields_that_monitoring_reads(tmp_path: Path) -> None:
    path = tmp_path / "status.json"

    StatusFile(path).write(DOCUMENT)

    assert json.loads(path.read_text(encoding="utf-8")) == {
        "status": "running",
        "lastRun": "2026-05-01T13:00:01Z",
        "lastSuccessfulRun": "2026-05-01T12:00:01Z",
        "instancesBilled": 12,
        "totalHours": 12,
        "nextScheduledRun": "2026-05-01T14:00:00Z",
        "instanceId": "host-4711",
        "pid": 4711,
        "version": "0.1.0",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert status_file.read(path) == DOCUMENT


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    file = StatusFile(path)
    file.write(DOCUMENT)
    with path.open(encoding="utf-8") as reader:
        file.write(DOCUMENT.model_copy(update={"status": FileStatus.STOPPED}))
        # Who had it open goes on reading the whole earlier document.
        assert json.load(reader)["status"] == "running"
    assert json.loads(path.read_text(encoding="utf-8"))["status"] == "stopped"
    assert list(tmp_path.iterdir()) == [path]


# Writes a document, and is killed in the next write, at one of the calls that a write is made of.
KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from containerstacks_billing_daemon.status_file import StatusDocument, StatusFile

path, call, document = Path(sys.argv[1]), sys.argv[2], StatusDocument.model_validate_json(sys.argv[3])
file = StatusFile(path)
file.write(document)
setattr(os, call, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
file.write(document.model_copy(update={"instances_billed": document.instances_billed + 1}))
"""


@pytest.mark.parametrize("call", ["fdopen", "fsync", "chmod", "replace"])
def test_a_writer_that_is_killed_leaves_a_whole_file_and_its_next_start_nothing_else(
    tmp_path: Path, call: str
) -> None:
    path = tmp_path / "status.json"
    arguments = [sys.executable, "-c", KILLED_WRITER, str(path), call, DOCUMENT.model_dump_json()]
    killed = subprocess.run(arguments, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert status_file.read(path) == DOCUMENT
    assert len(list(tmp_path.iterdir())) == 2
    status_file.remove_leftovers(path)
    assert list(tmp_path.iterdir()) == [path]


def test_what_another_living_daemon_is_writing_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    being_written = tmp_path / f".status.json.{os.getppid()}.x"
    ours_before_a_restart = tmp_path / f".status.json.{os.getpid()}.x"
    of_another_file = tmp_path / ".other.json.1.x"
    for file in (being_written, ours_before_a_restart, of_another_file):
        file.touch()
    status_file.remove_leftovers(path)
    assert set(tmp_path.iterdir()) == {being_written, of_another_file}


def test_a_failed_write_keeps_the_last_document_and_is_logged_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "status.json"
    file = StatusFile(path)
    with capture_logs() as logs:
        for _ in range(3):
            file.write(DOCUMENT)
        path.parent.mkdir()
        file.write(DOCUMENT)
        assert status_file.read(path) == DOCUMENT
    assert [entry["event"] for entry in logs] == ["status_file.unwritable"]
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_midway_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    StatusFile(tmp_path / "status.json").write(DOCUMENT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": "sleeping"}'])
def test_a_status_file_that_cannot_be_parsed_is_ignored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "status.json"
    path.write_text(content, encoding="utf-8")
    assert status_file.read(path) is None
    assert status_file.read(tmp_path / "absent.json") is None


def test_the_usual_place_is_taken_when_it_can_be_written(tmp_path: Path) -> None:
    usual, other = tmp_path / "run" / "status.json", tmp_path / "state" / "status.json"
    assert status_file.choose(None, [usual, other]) == usual
    assert not usual.exists()
    assert not other.parent.exists()


def test_another_place_is_taken_and_logged_when_the_usual_one_is_not_writable(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    other = tmp_path / "state" / "status.json"
    with capture_logs() as logs:
        assert status_file.choose(None, [blocker / "status.json", other]) == other
    assert [entry["event"] for entry in logs] == ["status_file.not_here", "status_file.elsewhere"]
    assert status_file.choose(None, [blocker / "status.json"]) is None


@pytest.mark.parametrize("place", ["file/status.json", "folder"])
def test_a_configured_place_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        ConfigurationError, match=r"^STATUS_FILE_PATH: '.*' cannot be written: .* \(expected "
    ):
        status_file.choose(tmp_path / place, [tmp_path / "other.json"])


def test_without_a_place_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    StatusFile(None).write(DOCUMENT)
    assert list(tmp_path.iterdir()) == []
