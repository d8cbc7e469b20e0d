"""The status file: what monitoring reads without a database.

It is replaced as a whole: a reader never sees half a document, and after a crash the last complete one stands.
Leftovers of a crash are removed at the next start. When the file cannot be written, billing goes on.
"""

import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import structlog
from pydantic import ValidationError

from containerstacks_shared.core.documents import Document, Figure, Timestamp
from containerstacks_shared.core.errors import ConfigurationError

log = structlog.get_logger(__name__)

# Monitoring runs under another account.
_MODE = 0o644


class FileStatus(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


class StatusDocument(Document):
    status: FileStatus
    last_run: Timestamp | None = None
    last_successful_run: Timestamp | None = None
    instances_billed: int = 0
    total_hours: Figure = Decimal(0)
    next_scheduled_run: Timestamp | None = None
    instance_id: str
    pid: int
    version: str


class StatusFile:
    """The status file of this process; without a path, none is written."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        # What this process wrote last, or would have.
        self.last: StatusDocument | None = None
        self._failing = False

    def write(self, document: StatusDocument) -> None:
        self.last = document
        if self.path is None:
            return
        try:
            replace_atomically(self.path, document.model_dump_json(indent=2) + "\n")
        except OSError as error:
            if not self._failing:
                log.warning("status_file.unwritable", path=str(self.path), problem=error.strerror)
            self._failing = True
        else:
            self._failing = False

    def is_of_another(self) -> bool:
        """Whether another process wrote the file last."""
        written = None if self.path is None else read(self.path)
        return written is not None and self.last is not None and written.instance_id != self.last.instance_id


def read(path: Path) -> StatusDocument | None:
    with suppress(OSError, ValidationError):
        return StatusDocument.model_validate_json(path.read_bytes())
    return None


def is_running(pid: int) -> bool:
    """Whether the process that wrote a document, or a part of one, still runs."""
    if sys.platform == "win32":
        # There, signal 0 would end the process, so the file is believed.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def describe_runs(document: StatusDocument | None) -> str:
    """Say in a few words when billing last succeeded, and when it goes on."""
    if document is None:
        return "the first run is to come"
    succeeded, scheduled = (
        f"{moment:%Y-%m-%d %H:%M} UTC" if moment is not None else None
        for moment in (document.last_successful_run, document.next_scheduled_run)
    )
    return f"last success {succeeded or 'never'}, next run {scheduled or 'at once'}"


def choose(configured: Path | None, candidates: Iterable[Path]) -> Path | None:
    """Return the first path that can be written to. Raises `ConfigurationError` for a configured one only."""
    if configured is not None:
        problem = _problem(configured)
        if problem is not None:
            raise ConfigurationError(
                f"STATUS_FILE_PATH: '{configured}' cannot be written: {problem}"
                " (expected the path of a file in a folder that can be written)"
            )
        return configured
    for number, candidate in enumerate(candidates):
        problem = _problem(candidate)
        if problem is None:
            if number > 0:
                log.info("status_file.elsewhere", path=str(candidate))
            return candidate
        log.info("status_file.not_here", path=str(candidate), problem=problem)
    return None


def _problem(path: Path) -> str | None:
    """Say why a status file cannot stand at `path`, found out by doing what writing it will do."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            return "it is a folder"
        with tempfile.TemporaryFile(dir=path.parent):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` left when they were killed; call it before this process writes."""
    for leftover in path.parent.glob(f"{_temporary_prefix(path)}*"):
        pid = leftover.name.removeprefix(_temporary_prefix(path)).partition(".")[0]
        # Another daemon may stand by on this machine. Windows keeps what is open by itself.
        if sys.platform != "win32" and pid.isdecimal() and int(pid) != os.getpid() and is_running(int(pid)):
            continue
        with suppress(OSError):
            leftover.unlink()
            log.info("status_file.leftover_removed", path=str(leftover))


def _temporary_prefix(path: Path) -> str:
    return f".{path.name}."


def replace_atomically(path: Path, text: str) -> None:
    prefix = f"{_temporary_prefix(path)}{os.getpid()}."
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_MODE)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
