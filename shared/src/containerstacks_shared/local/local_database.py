"""The embedded server of `up`: started before the services, kept running beside them, stopped after them."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.waiting import wait_for_event

from .console import say
from .data_folder import DATABASE, DataFolder
from .interruption import Interruption

if TYPE_CHECKING:
    from .embedded import EmbeddedPostgres

_PAUSE = timedelta(milliseconds=500)
_PAUSE_AFTER_FAILURE = timedelta(seconds=5)


@dataclass(frozen=True)
class LocalDatabase:
    dsn: str
    postgres: "EmbeddedPostgres"

    async def keep_running(self, stop: asyncio.Event) -> None:
        """Start the server again whenever it ends by itself; the services wait for it."""
        pause = _PAUSE
        while not await wait_for_event(stop, pause.total_seconds()):
            pause = _PAUSE
            if self.postgres.pid is not None:
                continue
            say("PostgreSQL ended; starting it again")
            try:
                await asyncio.to_thread(self.postgres.start)
            except ContainerStacksError as error:
                say(str(error))
                pause = _PAUSE_AFTER_FAILURE


@contextmanager
def local_database(folder: DataFolder, interruption: Interruption) -> Iterator[LocalDatabase]:
    # Here, because it cannot even be imported on Windows, which has the other commands.
    from .embedded import EmbeddedPostgres  # noqa: PLC0415

    postgres = EmbeddedPostgres(folder.postgresql)
    was_here = folder.postgresql.exists()
    is_old = postgres.finds_data()
    begun = time.monotonic()
    say(f"{'Starting' if is_old else 'Creating'} PostgreSQL …")
    try:
        _ensure_database(postgres.start())
        say(f"PostgreSQL runs ({time.monotonic() - begun:.1f} s), its data are in {postgres.place}.")
        if is_old and not was_here:
            say(f"An earlier {folder.path} left these data; to start over, remove both while nothing runs.")
        for place, link in postgres.abandoned():
            say(f"{place} has the data of {link}, which is gone; remove them if nobody needs them.")
        dsn = postgres.dsn(DATABASE)
        folder.write_database_url(dsn)
        yield LocalDatabase(dsn, postgres)
    finally:
        # Short, and all that is left to do.
        interruption.ignore()
        folder.forget_database_url()
        folder.say_stopping()
        postgres.stop()


def _ensure_database(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute("select from pg_database where datname = %s", [DATABASE]).fetchone()
        if found is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
