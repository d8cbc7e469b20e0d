"""The connection that a command works on, and its errors in one line."""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar

import asyncpg

from containerstacks_shared.core.errors import ContainerStacksError, DatabaseUnavailable, DatabaseUnsuitable
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.core.money import AMOUNT_LIMIT, CURRENCY
from containerstacks_shared.core.settings import CommonSettings
from containerstacks_shared.database import db, suitability
from containerstacks_shared.database.db import Connection
from containerstacks_shared.local.which_database import load_settings_of_command

# Auditing or seeding millions of rows takes long; an operator can interrupt it.
_COMMAND_TIMEOUT = timedelta(hours=6)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Settings = TypeVar("Settings", bound=CommonSettings)


def read_settings() -> CommonSettings:
    return read_settings_of(CommonSettings)


def read_settings_of(cls: type[Settings]) -> Settings:
    settings = load_settings_of_command(cls)
    # A command answers with its result; the events behind it are there for who asks.
    level = settings.log_level if "log_level" in settings.model_fields_set else "warning"
    configure_logging(level, settings.log_format, service="cli")
    return settings


def run_with_database(
    work: Callable[Concatenate[Connection, Arguments], Awaitable[Result]],
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Result:
    """Connect, see that this release may work on the database, and do the work."""

    async def run() -> Result:
        settings = read_settings()
        async with connected(settings) as connection:
            return await work(connection, *arguments, **options)

    return asyncio.run(run())


@asynccontextmanager
async def connected(settings: CommonSettings) -> AsyncIterator[Connection]:
    """Give a connection as the services use them; what goes wrong with the database is one line."""
    try:
        pool = await db.create_pool(
            settings.dsn,
            service="cli",
            size_max=1,
            through_pooler=settings.through_pooler,
            command_timeout=_COMMAND_TIMEOUT,
        )
        try:
            await suitability.assert_suitable(
                settings.dsn, settings.listen_dsn, test_clock=settings.test_clock
            )
            async with pool.acquire() as connection:
                yield connection
        finally:
            pool.terminate()
    except db.UNAVAILABLE as error:
        if isinstance(error, DatabaseUnavailable):
            raise
        raise DatabaseUnavailable(f"the database went away: {error or type(error).__name__}") from error
    except asyncpg.NumericValueOutOfRangeError as error:
        raise ContainerStacksError(
            f"a sum of money would reach {AMOUNT_LIMIT:,} {CURRENCY}, which no column holds; nothing was changed"
        ) from error
    except asyncpg.PostgresError as error:
        raise DatabaseUnsuitable(f"the database refused: {error}") from error


def operator() -> str:
    """Who is at the keyboard, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A user id without a name, as containers have.
        return f"user {os.getuid()}"
