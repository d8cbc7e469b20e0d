"""A primary and its streaming hot standby on one machine, each on a data folder of its own."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.local.embedded.account import choose_account
from containerstacks_shared.local.embedded.binaries import find_binaries
from support.databases import embedded_postgres, server_version

# Under this name the standby is listed in `synchronous_standby_names`, and in `pg_stat_replication`.
STANDBY = "standby"
REPLICATION: Mapping[str, str] = {"wal_level": "replica", "max_wal_senders": "5", "hot_standby": "on"}
_PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True)
class Pair:
    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    def dsn(self, database: str = "postgres") -> str:
        """Name both servers; which of them is the primary is for the client to find out."""
        first, second = urlsplit(self.primary.dsn(database)), urlsplit(self.standby.dsn(database))
        return urlunsplit(first._replace(netloc=f"{first.netloc},{second.hostname}:{second.port}"))

    def promote(self) -> None:
        """Make the standby the primary; it takes writes when this returns."""
        run_program(self.standby.data_dir, "pg_ctl", "promote", "--pgdata", self.standby.data_dir.resolve())


@contextlib.contextmanager
def replicated_pair(settings: Mapping[str, str] | None = None) -> Iterator[Pair]:
    """Give a running pair; `settings` are PostgreSQL's, of both servers."""
    folder = Path(tempfile.mkdtemp(prefix="containerstacks-pair-"))
    folder.chmod(0o755)
    with embedded_postgres({**REPLICATION, **(settings or {})}) as primary:
        try:
            primary.start()
            copy = folder / "standby"
            copy.mkdir(mode=0o700)
            choose_account(primary.data_dir).owns(copy)
            source = urlsplit(primary.dsn())._replace(query=f"application_name={STANDBY}")
            run_program(
                primary.data_dir,
                *("pg_basebackup", "--pgdata", copy, "--dbname", urlunsplit(source)),
                *("--write-recovery-conf", "--checkpoint", "fast", "--no-sync"),
            )
            standby = EmbeddedPostgres(copy, fast=True, settings={**REPLICATION, **(settings or {})})
            try:
                standby.start()
                yield Pair(primary, standby)
            finally:
                standby.stop("immediate")
                # The other end of the pair may wait for this one's word.
                primary.stop("immediate")
        finally:
            shutil.rmtree(folder)


def run_program(data_dir: Path, program: str, *arguments: str | Path) -> None:
    """Run one of PostgreSQL's programs as the account that this data folder belongs to."""
    account = choose_account(data_dir)
    done = account.run([find_binaries(server_version(), account) / program, *arguments], timeout=_PATIENCE)
    if done.returncode != 0:
        message = f"{program} failed: {done.stderr}"
        raise RuntimeError(message)
