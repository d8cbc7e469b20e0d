"""The folder that `up` keeps everything in: the embedded server's data, secrets, and who is running.

`.containerstacks/` in the working directory; in a directory that cannot be written, the user's own data
folder. One `up` at a time holds it, by a lock that ends with the process.
"""

import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import platformdirs

from containerstacks_shared.core.errors import ConfigurationError, ContainerStacksError

NAME = ".containerstacks"
# Of the server in it.
DATABASE = "containerstacks"
_STOPPING = "stopping"
_PAUSE = timedelta(milliseconds=100)
# An `up` that is stopping gets the time to finish; any other only the moment that a signal takes.
_PATIENCE = timedelta(seconds=2)
_PATIENCE_STOPPING = timedelta(seconds=60)


class DataFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.postgresql = path / "postgresql"
        self.status_file = path / "billing-daemon.json"
        self.database_url_file = path / "database-url"
        self._lock_file = path / "up.lock"
        self._children_file = path / "children.json"

    @classmethod
    def of_working_directory(cls) -> "DataFolder":
        here = Path.cwd() / NAME
        if here.exists() or os.access(here.parent, os.W_OK):
            return cls(here)
        return cls(platformdirs.user_data_path("containerstacks"))

    @classmethod
    def of_running_up(cls) -> "DataFolder | None":
        """Find the folder of the `up` that a command means: the next one, from here upwards, that has a database."""
        here = Path.cwd()
        places = [folder / NAME for folder in (here, *here.parents)]
        found = (cls(path) for path in (*places, platformdirs.user_data_path("containerstacks")))
        # One that was killed left its address behind.
        return next(
            (folder for folder in found if folder.read_database_url() is not None and folder.is_held()), None
        )

    def prepare(self) -> None:
        """Make the folder, or see that it can be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Secrets inside are files of mode 0600. Root's server runs as somebody else and must walk through.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            probe = self.path / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigurationError(f"cannot write to {self.path}: {error.strerror}") from error

    @contextlib.contextmanager
    def held(self, *, patience: timedelta = _PATIENCE) -> Iterator[None]:
        """Hold the folder against any other `up`. Raises `ContainerStacksError` when one is running."""
        handle = self._take(patience)
        try:
            _rewrite(handle, str(os.getpid()))
            # One that was killed left its own behind.
            self.forget_database_url()
            yield
        finally:
            os.close(handle)

    def is_held(self) -> bool:
        if sys.platform == "win32":
            return False
        import fcntl  # noqa: PLC0415 - see below

        try:
            with self._lock_file.open("rb") as handle:
                # An `up` that begins at this moment tries again.
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def say_stopping(self) -> None:
        """Let the next `up`, which may be waiting already, know that this one is stopping."""
        # A full disk must not keep this one from stopping.
        with contextlib.suppress(OSError):
            self._lock_file.write_text(f"{os.getpid()} {_STOPPING}", encoding="ascii")

    def _take(self, patience: timedelta) -> int:
        # Not on Windows, where there is no `up` and this module must still be importable.
        import fcntl  # noqa: PLC0415

        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        begun = time.monotonic()
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 64, 0).decode("ascii", "replace")
                limit = _PATIENCE_STOPPING if _STOPPING in holder else patience
                if time.monotonic() - begun > limit.total_seconds():
                    os.close(handle)
                    raise ContainerStacksError(
                        f"already running as process {holder.split()[0] if holder else 'unknown'},"
                        f" which holds {self.path}"
                    ) from None
                time.sleep(_PAUSE.total_seconds())
            else:
                return handle

    def secret(self, name: str, *, characters: int) -> str:
        """Read the secret of this name, made on first use."""
        path = self.path / name
        with contextlib.suppress(FileNotFoundError):
            kept = path.read_text(encoding="ascii").strip()
            if kept:
                return kept
        value = secrets.token_urlsafe(characters)[:characters]
        self._write_private(path, value + "\n")
        return value

    def write_database_url(self, dsn: str) -> None:
        """Let other commands in this directory find the database while it runs."""
        self._write_private(self.database_url_file, dsn + "\n")

    def forget_database_url(self) -> None:
        self.database_url_file.unlink(missing_ok=True)

    def read_database_url(self) -> str | None:
        try:
            return self.database_url_file.read_text(encoding="ascii").strip()
        except OSError:
            return None

    def write_children(self, pids: dict[str, int]) -> None:
        """Store which processes were started, for the next `up` if this one is killed."""
        # A full disk must not keep this one from running them.
        with contextlib.suppress(OSError):
            self._write_private(self._children_file, json.dumps(pids))

    def read_children(self) -> dict[str, int]:
        try:
            found = json.loads(self._children_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return {}
        return {str(name): int(pid) for name, pid in found.items()}

    @staticmethod
    def _write_private(path: Path, text: str) -> None:
        # Never a half-written file, and never one that others may read.
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        unfinished.replace(path)


def _rewrite(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode("ascii"), 0)
