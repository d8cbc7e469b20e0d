"""One PostgreSQL server process on one data folder, for as long as its owner lives.

Never two servers on one folder: the owner holds a lock on a file beside it. When the owner is killed, a
watcher, which reads from a pipe that only the owner holds, sees the pipe end and stops the server; should
it fail too, the next owner finds the server by its pid file and stops it before it starts its own.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from containerstacks_shared.core.errors import ConfigurationError, DatabaseUnavailable

from .account import Account, choose_account
from .binaries import find_binaries
from .cluster import abandoned, claim, create_cluster, find_again, password_of, version_of

StopMode = Literal["smart", "fast", "immediate"]
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
HOST = "127.0.0.1"
PORTS_PREFERRED = range(20_000, 30_000)
# Recovery after a crash can take minutes; a server that will never start ends by itself.
START_TIMEOUT = timedelta(minutes=10)
STOP_TIMEOUT = timedelta(seconds=60)
PAUSE = timedelta(milliseconds=20)
# Backends of a killed server need a moment to notice; until then its folder counts as in use.
ATTEMPTS_MAX = 50
WATCHER = 'read -r _; kill -INT "$1" 2>/dev/null'
# For tests: nothing here must survive a power failure.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "300",
}


class EmbeddedPostgres:
    """The server on `data_dir`, which is made on first use and found again later.

    `version` is for a new folder; an existing one keeps the version that its data belong to. `settings` are
    configuration parameters by name. `fast` gives durability away. Listens on loopback, with a password.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        version: int = 18,
        port: int | None = None,
        fast: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._version = version
        self._port_wanted = port
        self._port = port
        self._fast = fast
        self._settings = {**(FAST if fast else {}), **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, while it runs."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".log")

    @property
    def place(self) -> Path:
        """Where the data really are."""
        return self.data_dir.resolve()

    def finds_data(self) -> bool:
        """Whether there are data already, also those that an earlier folder at this path left."""
        find_again(self.data_dir, choose_account(self.data_dir))
        return version_of(self.data_dir) is not None

    def abandoned(self) -> list[tuple[Path, Path]]:
        """Return data beside ours whose folder is gone: where they are, and where that folder was."""
        return abandoned(self.place) if self.data_dir.is_symlink() else []

    def dsn(self, database: str = "postgres") -> str:
        if self._port is None:
            raise DatabaseUnavailable(f"the embedded PostgreSQL on {self.data_dir} was not started")
        return f"postgresql://postgres:{password_of(self.data_dir)}@{HOST}:{self._port}/{database}"

    def start(self) -> str:
        """Start the server, wait until it answers, and return the DSN of database postgres."""
        if self.pid is not None:
            return self.dsn()
        # What a server that ended by itself left here.
        self.stop()
        try:
            self.data_dir.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
        except OSError as error:
            raise ConfigurationError(f"cannot write to {self.data_dir.parent}: {error.strerror}") from error
        try:
            account = choose_account(self.data_dir)
            find_again(self.data_dir, account)
            existing = version_of(self.data_dir)
            binaries = find_binaries(existing or self._version, account)
            if existing is None:
                self._create(binaries, account)
            claim(self.data_dir)
            # With the links resolved: the account may not be able to walk through them.
            data = self.data_dir.resolve()
            _stop_leftover(data)
            self._start_process(binaries, data, account)
        except BaseException:
            self.stop("immediate")
            raise
        return self.dsn()

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and wait for its end; its data stay. Harmless when it does not run."""
        if self._process is not None:
            self._process.send_signal(SIGNALS[mode])
            try:
                self._process.wait(STOP_TIMEOUT.total_seconds())
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        # Before the lock is released: the pid that the watcher knows must not become that of another server.
        self._end_watcher()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _end_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None

    def destroy(self) -> None:
        """Stop the server and remove its data."""
        self.stop("immediate")
        shutil.rmtree(self.data_dir.resolve(), ignore_errors=True)
        if self.data_dir.is_symlink():
            self.data_dir.unlink()
        for leftover in (self.log, self.log.with_suffix(".log.1"), self._lock_file):
            leftover.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _lock_file(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".lock")

    def _take_lock(self) -> None:
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 32).decode("ascii", "replace").strip()
            os.close(handle)
            raise ConfigurationError(
                f"{self.data_dir} is in use by process {owner or 'unknown'}: stop that one first"
            ) from None
        # Ours from now on, so that the next start releases it if the disk is too full for what follows.
        self._lock = handle
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())

    def _create(self, binaries: Path, account: Account) -> None:
        try:
            create_cluster(
                self.data_dir, version=self._version, binaries=binaries, account=account, fast=self._fast
            )
        except OSError as error:
            raise ConfigurationError(f"cannot make {self.data_dir}: {error.strerror}") from error

    def _start_process(self, binaries: Path, data: Path, account: Account) -> None:
        problem: str | None = None
        for _ in range(ATTEMPTS_MAX):
            self._port = self._port or _free_port(data)
            problem = self._try_start(binaries, data, account, port=self._port)
            if problem is None:
                return
            self._end_watcher()
            if "shared memory block" in problem:
                time.sleep(PAUSE.total_seconds() * 10)
            elif "could not create any TCP/IP sockets" in problem and self._port_wanted is None:
                # Somebody took the port between our look and the server's.
                self._port = None
            else:
                break
        raise DatabaseUnavailable(f"the embedded PostgreSQL did not start: {problem} (see {self.log})")

    def _try_start(self, binaries: Path, data: Path, account: Account, *, port: int) -> str | None:
        """Start once; returns what was wrong."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        settings = {
            "listen_addresses": HOST,
            "port": str(port),
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] %a ",
            **self._settings,
        }
        # It quotes statements, and those quote data.
        self.log.touch(mode=0o600)
        with self.log.open("wb") as output:
            self._process = account.start(
                [
                    binaries / "postgres",
                    *("-D", data),
                    *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
                ],
                output=output,
            )
        self._watcher = account.start(
            # The folder is only there for readers of the list of processes.
            ["/bin/sh", "-c", WATCHER, "containerstacks-postgres-watcher", str(self._process.pid), data],
            stdin=subprocess.PIPE,
            output=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT.total_seconds()
        while not _is_ready(data, self._process.pid):
            if self._process.poll() is not None:
                return _problem(self.log)
            if time.monotonic() > deadline:
                return f"not ready after {START_TIMEOUT}"
            time.sleep(PAUSE.total_seconds())
        return None


def _is_ready(data: Path, pid: int) -> bool:
    # Line 1 is the process id, line 8 the state.
    lines = _pid_file(data)
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _problem(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    fatal = [line.split("FATAL:", 1)[1].strip() for line in lines if "FATAL:" in line]
    return fatal[-1] if fatal else (lines[-1] if lines else "it ended without a word")


def _free_port(data: Path) -> int:
    """Choose the same port every time while it is free, so that a client's address stays valid."""
    digest = hashlib.sha256(str(data).encode()).digest()
    preferred = PORTS_PREFERRED[int.from_bytes(digest[:4], "big") % len(PORTS_PREFERRED)]
    for candidate in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, candidate))
                port: int = probe.getsockname()[1]
                return port
    raise ConfigurationError(f"no free port on {HOST}")


def _stop_leftover(data: Path) -> None:
    """End a server that a killed owner left on this folder, and clear its pid file."""
    lines = _pid_file(data)
    if not lines:
        return
    pid = int(lines[0])
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + STOP_TIMEOUT.total_seconds() / 3
        while _serves(pid, data) and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            time.sleep(PAUSE.total_seconds())
    # PostgreSQL mistakes any living process with that pid for its server: after a restart of the machine, or
    # of a container, the number often belongs to another program.
    (data / "postmaster.pid").unlink(missing_ok=True)


def _serves(pid: int, data: Path) -> bool:
    """Whether the process is a server on this folder (and not a stranger that got its number)."""
    if sys.platform == "linux":
        try:
            # A server works in its data folder.
            return Path(f"/proc/{pid}/cwd").readlink() == data
        except OSError:
            return False
    listing = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "comm=", "-p", str(pid)], check=False, capture_output=True, text=True
    )
    return Path(listing.stdout.strip()).name == "postgres"
