"""Whether this release may work on a database: its version, its schema, its clock, LISTEN and advisory locks.

Coordination is tried, not looked up: a notification is sent and heard, and one session's lock refuses another.
"""

import asyncio
import secrets
from contextlib import AsyncExitStack
from typing import Final

from containerstacks_shared.core.errors import DatabaseUnavailable, DatabaseUnsuitable
from containerstacks_shared.core.queries import load

from . import db

# The schema that this release works with; a newer one keeps working with it, an older one does not.
SCHEMA_REVISION: Final = "0001"

_SERVER_VERSION_MIN: Final = 150000
_PROBE_SECONDS: Final = 3.0

_QUERIES: Final = load(__name__)
_TRY_LOCK: Final = load(__name__, "locks")["try_lock"]


async def assert_suitable(dsn_query: str, dsn_listen: str, *, test_clock: bool) -> None:
    """Refuse a database on which this release would be wrong, or on which its coordination does not work.

    Raises `DatabaseUnsuitable`, or `DatabaseUnavailable` when it cannot be asked.
    """
    try:
        async with AsyncExitStack() as stack:
            query = await stack.enter_async_context(db.probe(dsn_query))
            listen = await stack.enter_async_context(db.probe(dsn_listen))
            second = await stack.enter_async_context(db.probe(dsn_listen))
            await assert_schema(query)
            await _assert_clock(query, test_clock=test_clock)
            await _assert_notifications(query, listen, label=db.describe(dsn_listen))
            await _assert_locks(listen, second, label=db.describe(dsn_listen))
    except db.UNAVAILABLE as error:
        raise DatabaseUnavailable(
            f"The database at {db.describe(dsn_query)} cannot be reached: {db.one_line(error)}"
        ) from error


async def assert_schema(connection: db.DedicatedConnection) -> None:
    """Raises `DatabaseUnsuitable` when this release cannot read what is there."""
    facts = await connection.fetchrow(_QUERIES["suitability"])
    assert facts is not None
    if facts["server_version"] < _SERVER_VERSION_MIN:
        raise DatabaseUnsuitable(
            f"PostgreSQL 15 or newer is needed; this server is {facts['server_version']}."
        )
    if not facts["migrated"]:
        raise DatabaseUnsuitable("This database is not migrated: run `containerstacks migrate` first.")
    revision = await connection.fetchval(_QUERIES["schema_revision"])
    if revision is None or revision < SCHEMA_REVISION:
        raise DatabaseUnsuitable(
            f"The schema is at revision {revision}, and this release needs {SCHEMA_REVISION}:"
            " run `containerstacks migrate` first."
        )
    changes = await read_application_changes(connection)
    if changes is not None:
        raise DatabaseUnsuitable(
            f"The application changed its schema: {changes}. Run `containerstacks migrate`."
        )


async def read_application_changes(connection: db.Connection) -> str | None:
    """What an upgrade of the application changed under us since the last migration."""
    changes: str | None = await connection.fetchval(_QUERIES["application_changes"])
    return changes


async def _assert_clock(connection: db.DedicatedConnection, *, test_clock: bool) -> None:
    offset = await connection.fetchval(_QUERIES["clock_offset"])
    if offset and not test_clock:
        raise DatabaseUnsuitable(
            f"The database's clock is shifted by {offset} (containerstacks.clock_offset):"
            " reset it, or set TEST_CLOCK=1 if this is a test."
        )


async def _assert_notifications(
    query: db.DedicatedConnection, listen: db.DedicatedConnection, *, label: str
) -> None:
    channel = f"containerstacks_probe_{secrets.token_hex(8)}"
    heard = asyncio.Event()
    try:
        await listen.add_listener(channel, lambda *_: heard.set())
        await query.execute(_QUERIES["notify"], channel, "")
        async with asyncio.timeout(_PROBE_SECONDS):
            await heard.wait()
    except TimeoutError as error:
        raise DatabaseUnsuitable(
            f"LISTEN does not work at {label}: a notification sent by DATABASE_URL did not arrive. Behind a"
            " transaction-mode pooler set DATABASE_LISTEN_URL to a direct connection to the same database."
        ) from error


async def _assert_locks(first: db.DedicatedConnection, second: db.DedicatedConnection, *, label: str) -> None:
    # A key of its own, so that processes that start together do not meet here.
    key = -1 - secrets.randbelow(2**31 - 1)
    taken = await first.fetchval(_TRY_LOCK, db.ADVISORY_LOCK_CLASS, key)
    taken_twice = await second.fetchval(_TRY_LOCK, db.ADVISORY_LOCK_CLASS, key)
    if not taken or taken_twice:
        raise DatabaseUnsuitable(
            f"Advisory locks do not work at {label}: two sessions do not see each other's. Behind a"
            " transaction-mode pooler set DATABASE_LISTEN_URL to a direct connection to the same database."
        )
