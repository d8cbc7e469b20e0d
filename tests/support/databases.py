"""Databases for tests: one server per test process, one template migrated once, one copy per test.

`TEST_DATABASE_SERVER` names an existing server to use instead of the embedded one (its user must be
allowed to create databases); `TEST_POSTGRES_VERSION` picks the embedded one (16 or 18).
"""

import contextlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import psycopg
from psycopg import sql

from containerstacks_shared.database import db
from containerstacks_shared.local.embedded import EmbeddedPostgres

_IN_MEMORY: Final = Path("/dev/shm")
# For some servers at a time, each with its log and some databases of 10 MB.
_ROOM_BYTES_MIN: Final = 2 * 1024**3


@dataclass(frozen=True)
class DatabaseServer:
    """A running PostgreSQL; `dsn` names its maintenance database."""

    dsn: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def create(self, purpose: str, *, template: str | None = None) -> str:
        """Create a database and return its DSN."""
        # Workers may share a server that somebody else runs, so the name carries the process id.
        name = f"{purpose}_{os.getpid()}_{next(self._numbers)}"
        # By copying files, a quarter of what it costs through the log: 17 ms of processor time to create, 7 to drop.
        self._execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template or "template0")
            )
        )
        return with_database(self.dsn, name)

    def freeze(self, dsn: str) -> str:
        """Make a template of a database: PostgreSQL copies only databases without connections."""
        name = database_name(dsn)
        self._execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(name)))
        return name

    def drop(self, name: str) -> None:
        # By force: a test that failed may have left connections open.
        self._execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def database_server() -> Iterator[DatabaseServer]:
    existing = os.environ.get("TEST_DATABASE_SERVER")
    if existing:
        yield DatabaseServer(existing)
        return
    with embedded_postgres() as postgres:
        yield DatabaseServer(postgres.start())


@contextlib.contextmanager
def embedded_postgres(settings: Mapping[str, str] | None = None) -> Iterator[EmbeddedPostgres]:
    """Give an embedded server of its own, not yet started, and remove it whatever happens to it.

    `settings` are PostgreSQL's, on top of those that make tests fast.
    """
    folder = Path(tempfile.mkdtemp(prefix="containerstacks-tests-", dir=_memory()))
    # PostgreSQL refuses to run as root and then runs as somebody else, who must get into the folder.
    folder.chmod(0o755)
    postgres = EmbeddedPostgres(folder / "data", version=server_version(), fast=True, settings=settings)
    try:
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(folder)


def _memory() -> Path | None:
    """Return the file system in memory, where a database is created at a third of the cost, if there is room in it."""
    if not os.access(_IN_MEMORY, os.W_OK) or shutil.disk_usage(_IN_MEMORY).free < _ROOM_BYTES_MIN:
        return None
    return _IN_MEMORY


async def connect(dsn: str, **settings: str) -> asyncpg.Connection:
    """Connect as the services and commands do, to whom documents are Python values."""
    connection = await asyncpg.connect(dsn, server_settings=settings)
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    return connection


@contextlib.asynccontextmanager
async def open_pool(dsn: str, *, service: str = "tests", **options: Any) -> AsyncIterator[db.Pool]:
    """Open the services' own pool for the length of a block."""
    pool = await db.create_pool(dsn, service=service, **options)
    try:
        yield pool
    finally:
        # Not close(): it would wait for what a failed test still holds, for ever where the server is silent.
        pool.terminate()


@contextlib.asynccontextmanager
async def past_the_triggers(connection: db.Connection) -> AsyncIterator[None]:
    """Write past every trigger and foreign key, as a restore of single tables does."""
    await connection.execute("set session_replication_role = replica")
    yield
    await connection.execute("reset session_replication_role")


def server_version() -> int:
    """Return the major version of embedded servers in tests."""
    return int(os.environ.get("TEST_POSTGRES_VERSION", "18"))


def with_database(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{quote(name)}"))


def database_name(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")
