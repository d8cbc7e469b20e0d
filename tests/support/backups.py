"""Backups of a running server by PostgreSQL's own programs, and new servers made of them."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.local.embedded.account import choose_account
from support import roles
from support.databases import database_name, embedded_postgres, with_database
from support.replication import REPLICATION, run_program


class Backup(Protocol):
    """One way to back up the database at a DSN; `settings` are what its server needs for that."""

    @property
    def settings(self) -> Mapping[str, str]: ...
    def take(self, server: EmbeddedPostgres, dsn: str) -> None: ...
    def restored(self, dsn: str) -> contextlib.AbstractContextManager[str]:
        """Give the DSN of the same database on a new server."""


@dataclass(frozen=True)
class Dump:
    """`pg_dump` in the custom format: one database, also for a newer PostgreSQL."""

    folder: Path

    @property
    def settings(self) -> Mapping[str, str]:
        return {}

    @property
    def _file(self) -> Path:
        return self.folder / "containerstacks.dump"

    def take(self, server: EmbeddedPostgres, dsn: str) -> None:
        run_program(server.data_dir, "pg_dump", "--format", "custom", "--file", self._file, "--dbname", dsn)

    @contextlib.contextmanager
    def restored(self, dsn: str) -> Iterator[str]:
        with embedded_postgres() as server:
            # The grants are in the dump, and the roles are the server's.
            roles.create(server.start())
            # With --create also what `alter database … set` said of it comes back.
            run_program(
                server.data_dir,
                *("pg_restore", "--create", "--exit-on-error", "--dbname", server.dsn(), self._file),
            )
            yield with_database(server.dsn(), database_name(dsn))


@dataclass(frozen=True)
class BaseBackup:
    """`pg_basebackup`: the whole server as it stood."""

    folder: Path

    @property
    def settings(self) -> Mapping[str, str]:
        return REPLICATION

    def take(self, server: EmbeddedPostgres, dsn: str) -> None:
        self._data.mkdir(mode=0o700)
        choose_account(server.data_dir).owns(self._data)
        run_program(
            server.data_dir,
            *("pg_basebackup", "--pgdata", self._data, "--dbname", dsn, "--checkpoint", "fast", "--no-sync"),
        )

    @contextlib.contextmanager
    def restored(self, dsn: str) -> Iterator[str]:
        self._prepare()
        settings = {**self.settings, **self._recovery}
        server = EmbeddedPostgres(self._data, fast=True, settings=settings)
        try:
            server.start()
            yield with_database(server.dsn(), database_name(dsn))
        finally:
            server.stop()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _recovery(self) -> Mapping[str, str]:
        return {}

    def _prepare(self) -> None:
        """A copy with its log is complete."""


@dataclass(frozen=True)
class ArchivedBaseBackup(BaseBackup):
    """The same, and every segment of the write-ahead log that was written since."""

    @property
    def settings(self) -> Mapping[str, str]:
        return {**REPLICATION, "archive_mode": "on", "archive_command": f"cp %p {self._archive}/%f"}

    @property
    def _archive(self) -> Path:
        return self.folder / "archive"

    @property
    def _recovery(self) -> Mapping[str, str]:
        return {"restore_command": f"cp {self._archive}/%f %p"}

    def take(self, server: EmbeddedPostgres, dsn: str) -> None:
        self._archive.mkdir(mode=0o700)
        choose_account(server.data_dir).owns(self._archive)
        super().take(server, dsn)

    def _prepare(self) -> None:
        signal = self._data / "recovery.signal"
        signal.touch()
        choose_account(self._data).owns(signal)


@contextlib.contextmanager
def backup_folder() -> Iterator[Path]:
    """Give a folder that the server's account may write to."""
    folder = Path(tempfile.mkdtemp(prefix="containerstacks-backup-"))
    choose_account(folder).owns(folder)
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
