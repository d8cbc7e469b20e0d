"""The embedded server: its data stay, it never outlives its owner, and its folder has one owner."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from containerstacks_shared.core.errors import ConfigurationError, DatabaseUnavailable
from containerstacks_shared.local.data_folder import DataFolder
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.local.interruption import Interruption
from containerstacks_shared.local.local_database import local_database
from support.processes import free_port
from support.waiting import eventually

# Starts the server on a folder, says its pid, and waits.
OWNER = """
import sys
from pathlib import Path
from containerstacks_shared.local.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), fast=True)
postgres.start()
print(postgres.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="containerstacks-embedded-") as name:
        # Root's server runs as somebody else, who must get in.
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(folder / "data", fast=True)
    yield postgres
    postgres.stop("immediate")


@contextlib.contextmanager
def owner_of(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Give a process that owns a server on the folder, and the server's pid."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        yield owner, int(owner.stdout.readline())
        owner.kill()


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return False


def ask(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def keep_a_number(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("create table kept as select 7 as number")


def child_named(name: str, parent: int) -> int:
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text(encoding="ascii")
            if f"Name:\t{name}\n" in text and f"PPid:\t{parent}\n" in text:
                return int(status.parent.name)
    raise AssertionError(f"process {parent} has no child {name}")


def test_data_are_found_again_at_the_same_address(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()
    keep_a_number(dsn)
    postgres.stop()
    assert postgres.pid is None
    again = EmbeddedPostgres(postgres.data_dir, fast=True)
    try:
        assert again.start() == dsn
        assert ask(dsn, "select number from kept") == 7
    finally:
        again.stop()


@pytest.mark.parametrize("version", [16, 18])
def test_each_bundled_version_runs_and_an_existing_folder_keeps_its_own(folder: Path, version: int) -> None:
    with EmbeddedPostgres(folder / "data", version=version, fast=True) as postgres:
        assert str(ask(postgres.dsn(), "show server_version_num")).startswith(str(version))
    with EmbeddedPostgres(folder / "data", version=34 - version, fast=True) as postgres:
        assert str(ask(postgres.dsn(), "show server_version_num")).startswith(str(version))


def test_a_login_needs_the_password(postgres: EmbeddedPostgres) -> None:
    password = postgres.start().split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.dsn().replace(password, "another"))
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.dsn().replace(f":{password}", ""))


def test_it_listens_on_this_machine_only(postgres: EmbeddedPostgres) -> None:
    assert ask(postgres.start(), "show listen_addresses") == "127.0.0.1"
    assert ask(postgres.dsn(), "show unix_socket_directories") == ""


def test_the_server_has_the_settings_it_was_given(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data", fast=True, settings={"max_connections": "17"}) as postgres:
        assert ask(postgres.dsn(), "show max_connections") == "17"
        assert ask(postgres.dsn(), "show fsync") == "off"


def test_without_fast_a_commit_is_durable(folder: Path) -> None:
    with EmbeddedPostgres(folder / "data") as postgres:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(postgres.dsn(), f"show {setting}") == "on"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_it_starts_again_after_any_stop(postgres: EmbeddedPostgres, mode: str) -> None:
    dsn = postgres.start()
    postgres.stop("fast" if mode == "fast" else "immediate")
    assert postgres.start() == dsn
    assert ask(dsn, "select 1") == 1


async def test_it_starts_again_after_it_was_killed(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.start()
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    await eventually(lambda: postgres.pid is None)
    assert postgres.start() == dsn
    assert ask(dsn, "select 1") == 1


async def test_a_killed_owner_takes_its_server_along(folder: Path) -> None:
    with owner_of(folder / "data") as (owner, pid):
        owner.kill()
        await eventually(lambda: not is_running(pid))


def test_a_server_left_behind_is_stopped_by_the_next_owner(folder: Path, postgres: EmbeddedPostgres) -> None:
    with owner_of(folder / "data") as (owner, pid):
        # Without its watcher the server keeps running.
        os.kill(child_named("sh", owner.pid), signal.SIGKILL)
        owner.kill()
        owner.wait()
        assert is_running(pid)
        dsn = postgres.start()
        assert not is_running(pid)
        assert ask(dsn, "select 1") == 1


def test_two_owners_of_one_folder_are_refused(folder: Path, postgres: EmbeddedPostgres) -> None:
    postgres.start()
    second = EmbeddedPostgres(folder / "data", fast=True)
    with pytest.raises(ConfigurationError, match=f"is in use by process {os.getpid()}: stop that one first$"):
        second.start()
    assert ask(postgres.dsn(), "select 1") == 1


def test_a_pid_file_with_the_pid_of_another_process_is_ignored(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    pid_file = postgres.data_dir / "postmaster.pid"
    text = pid_file.read_text(encoding="utf-8")
    postgres.stop()
    # As after a restart of the machine: the number is alive, and somebody else's.
    pid_file.write_text(text.replace(text.splitlines()[0], str(os.getpid()), 1), encoding="utf-8")
    assert ask(postgres.start(), "select 1") == 1


def test_an_interrupted_creation_is_repeated(postgres: EmbeddedPostgres) -> None:
    unfinished = postgres.data_dir.with_name("data.unfinished")
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18", encoding="ascii")
    assert ask(postgres.start(), "select 1") == 1
    assert not unfinished.exists()


def test_a_folder_with_something_else_in_it_is_left_alone(postgres: EmbeddedPostgres) -> None:
    postgres.data_dir.mkdir()
    (postgres.data_dir / "thesis.txt").touch()
    with pytest.raises(ConfigurationError, match="is not empty"):
        postgres.start()
    assert [entry.name for entry in postgres.data_dir.iterdir()] == ["thesis.txt"]


def test_a_requested_port_that_is_busy_is_reported(folder: Path) -> None:
    port = free_port()
    with EmbeddedPostgres(folder / "first", port=port, fast=True):
        second = EmbeddedPostgres(folder / "second", port=port, fast=True)
        with pytest.raises(DatabaseUnavailable, match="did not start: could not create any TCP/IP sockets"):
            second.start()
        assert second.pid is None


def test_it_starts_once_the_disk_has_room(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.stop("immediate")
    with no_room(), pytest.raises(ConfigurationError, match="cannot write"):
        postgres.start()
    postgres.start()
    assert postgres.pid is not None


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """Let this process write to no file, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_impossible_folder_is_one_line(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(ConfigurationError, match=f"^cannot write to {folder}/file: File exists$"):
        EmbeddedPostgres(folder / "file" / "data").start()


def test_a_folder_that_the_server_account_cannot_enter_works(folder: Path) -> None:
    # Below /root, for one. Whoever is not root is the server's account, and gets in.
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    postgres = EmbeddedPostgres(closed / "data", fast=True)
    try:
        dsn = postgres.start()
        keep_a_number(dsn)
        postgres.stop()
        assert EmbeddedPostgres(closed / "data", fast=True).data_dir.resolve() == postgres.data_dir.resolve()
        assert postgres.start() == dsn
        assert ask(dsn, "select number from kept") == 7
    finally:
        kept = postgres.data_dir.resolve()
        postgres.destroy()
    assert not kept.exists()
    assert list(closed.iterdir()) == []


@pytest.fixture
def closed(folder: Path) -> Path:
    """Give a folder that the server's account cannot reach, so that its data lie below the system's folder."""
    if os.geteuid() != 0:
        pytest.skip("only root's server runs as another account")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    return closed


def test_a_folder_that_was_removed_finds_its_data_again(closed: Path) -> None:
    postgres = EmbeddedPostgres(closed / "data", fast=True)
    try:
        keep_a_number(postgres.start())
        postgres.stop()
        shutil.rmtree(closed)
        closed.mkdir(mode=0o700)
        assert ask(postgres.start(), "select number from kept") == 7
        assert postgres.abandoned() == []
    finally:
        postgres.destroy()


def test_up_says_whose_data_it_found_again(closed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = DataFolder(closed / ".containerstacks")
    said = []
    try:
        for _ in range(2):
            folder.prepare()
            with local_database(folder, Interruption()):
                said.append(capsys.readouterr().out)
            place = folder.postgresql.resolve()
            shutil.rmtree(folder.path)
    finally:
        shutil.rmtree(place)
    assert said[0].startswith("Creating PostgreSQL …\n")
    assert "earlier" not in said[0]
    assert said[1].startswith("Starting PostgreSQL …\n")
    assert (
        f"An earlier {folder.path} left these data; to start over, remove both while nothing runs." in said[1]
    )


def test_a_copied_folder_does_not_share_the_data_of_the_first(closed: Path) -> None:
    first = EmbeddedPostgres(closed / "data", fast=True)
    copied = EmbeddedPostgres(closed / "copy" / "data", fast=True)
    try:
        first.start()
        copied.data_dir.parent.mkdir()
        copied.data_dir.symlink_to(first.place)
        with pytest.raises(ConfigurationError, match="remove the link for data of its own"):
            copied.start()
        assert first.pid is not None
        first.stop()
        # Moved, not copied: they have no other owner.
        first.data_dir.unlink()
        copied.start()
    finally:
        copied.destroy()


def test_data_without_a_folder_are_listed(closed: Path) -> None:
    gone = EmbeddedPostgres(closed / "gone", fast=True)
    postgres = EmbeddedPostgres(closed / "data", fast=True)
    try:
        gone.start()
        gone.stop()
        place = gone.place
        gone.data_dir.unlink()
        postgres.start()
        assert (place, gone.data_dir) in postgres.abandoned()
        gone.start()
    finally:
        postgres.destroy()
        gone.destroy()
