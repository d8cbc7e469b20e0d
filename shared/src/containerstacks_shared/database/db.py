"""Connections: a pool for queries, and dedicated ones for LISTEN and locks.

The pool resets what it takes back, which ends LISTEN and unlocks, so those two live on connections of
their own. asyncpg has no keepalive: a half-open socket is only noticed by talking over it, which the
owners of dedicated connections do every `HEARTBEAT_SECONDS`. The server does its part, too: it drops
sessions that fell silent, so that a stopped process loses its locks and its open transactions.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from containerstacks_shared.core import tracing
from containerstacks_shared.core.errors import DatabaseUnavailable, DatabaseUnsuitable
from containerstacks_shared.core.queries import load

from . import servers
from .bounded_pool import BoundedPool, BoundedSession

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    DedicatedConnection = asyncpg.Connection[asyncpg.Record]
    Connection = DedicatedConnection | PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    DedicatedConnection = asyncpg.Connection
    Connection = asyncpg.Connection | PoolConnectionProxy

# "The database is away, try again."
UNAVAILABLE: Final[tuple[type[Exception], ...]] = (
    DatabaseUnavailable,
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # Raised for a query on a session that the server has just ended, before asyncpg has noticed.
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # The primary was demoted under us: the next connection finds its successor.
    asyncpg.ReadOnlySQLTransactionError,
)

# Every way in which a query can fail, an unreachable database included.
FAILURES: Final[tuple[type[Exception], ...]] = (asyncpg.PostgresError, *UNAVAILABLE)

# The first of the two keys of every advisory lock of this project; the second names the lock.
ADVISORY_LOCK_CLASS: Final = 0x4353_544B
VERSIONS_LOCK: Final = 100
# Held to its commit by the one writer that announces count_deltas (schema/steps/counting.sql has the numbers too).
HINT_LOCK: Final = 101

HEARTBEAT_SECONDS: Final = 2.0
IDLE_SESSION_TIMEOUT: Final = timedelta(seconds=5)
_IDLE_IN_TRANSACTION_TIMEOUT: Final = timedelta(seconds=5)
_COMMAND_TIMEOUT: Final = timedelta(seconds=30)
_CONNECT_TIMEOUT_SECONDS: Final = 3.0
_CLOSE_SECONDS_MAX: Final = 1.0
_CLOSE_POOL_SECONDS_MAX: Final = 5.0
_STANDBY_CONNECTIONS_MAX: Final = 5
# Queries until a pooled session is replaced.
_SESSION_QUERIES_MAX: Final = 50_000
_SESSION_IDLE_MAX: Final = timedelta(minutes=5)
_START_PATIENCE_SECONDS: Final = 10.0
_START_PAUSE_SECONDS: Final = 0.5
_DEMOTED: Final = "the server takes no more writes"

_HEARTBEAT: Final = load(__name__)["heartbeat"]


async def _connect(dsn: str, **options: Any) -> DedicatedConnection:
    """Connect to one of the servers. Raises one of `UNAVAILABLE`.

    A server's refusal is one of these too (the role may not log in, the password has changed, the database accepts no
    connections), so that a running process retries until it is lifted.
    """
    try:
        return await servers.connect(dsn, **options)
    except asyncpg.PostgresError as error:
        if isinstance(error, UNAVAILABLE):
            raise
        raise _refused(dsn, error) from error


# The pool ---------------------------------------------------------------------------------------


async def create_pool(
    dsn: str,
    *,
    service: str,
    size_max: int = 10,
    through_pooler: bool = False,
    command_timeout: timedelta = _COMMAND_TIMEOUT,
) -> Pool:
    """Connect, trying for about ten seconds. Raises `DatabaseUnavailable`.

    `through_pooler` is for a DSN that leads through PgBouncer in transaction mode: it refuses most
    startup settings, and a statement prepared under a name may meet another server session.
    """
    give_up = time.monotonic() + _START_PATIENCE_SECONDS
    while True:
        try:
            # Open one connection now, to find out whether it works.
            return await _create_pool(
                dsn,
                service=service,
                size_max=size_max,
                through_pooler=through_pooler,
                command_timeout=command_timeout,
                init_size=1,
            )
        except DatabaseUnavailable:
            # A server that refuses would refuse again.
            raise
        except _UNFIT as error:
            raise _refused(dsn, error) from error
        except UNAVAILABLE as error:
            if time.monotonic() + _START_PAUSE_SECONDS > give_up:
                raise DatabaseUnavailable(
                    f"The database at {describe(dsn)} cannot be reached: {one_line(error)}"
                ) from error
        await asyncio.sleep(_START_PAUSE_SECONDS)


async def create_standby_pool(dsn: str, *, service: str) -> Pool:
    """Make a pool for a read-only server that may be down for now: it connects at first use."""
    return await _create_pool(
        dsn,
        service=service,
        size_max=_STANDBY_CONNECTIONS_MAX,
        init_size=0,
        writable=False,
    )


async def _create_pool(
    dsn: str,
    *,
    service: str,
    size_max: int,
    init_size: int,
    through_pooler: bool = False,
    command_timeout: timedelta = _COMMAND_TIMEOUT,
    writable: bool = True,
) -> Pool:
    settings = _server_settings(service)
    if not through_pooler:
        settings |= {
            "jit": "off",
            # The client gives up first; this one is for a client that is gone.
            "statement_timeout": _milliseconds(command_timeout + timedelta(seconds=5)),
            "idle_in_transaction_session_timeout": _milliseconds(_IDLE_IN_TRANSACTION_TIMEOUT),
            **PRESUPPOSED,
            **_KEEPALIVES,
        }
    options: dict[str, Any] = {"statement_cache_size": 0} if through_pooler else {}

    async def set_up(connection: "PoolConnectionProxy[asyncpg.Record]") -> None:
        if writable and servers.only_reads(connection.get_settings()):
            await pool.expire_connections()
            raise ConnectionError(_DEMOTED)

    pool = await BoundedPool(
        dsn,
        connection_class=BoundedSession,
        connect=partial(_connect, writable=writable),
        # No floor, which would be rebuilt noisily during an outage.
        min_size=0,
        init_size=init_size,
        max_size=size_max,
        max_queries=_SESSION_QUERIES_MAX,
        max_inactive_connection_lifetime=_SESSION_IDLE_MAX.total_seconds(),
        loop=None,
        record_class=asyncpg.Record,
        timeout=_CONNECT_TIMEOUT_SECONDS,
        command_timeout=command_timeout.total_seconds(),
        server_settings=settings,
        init=_prepare_session,
        setup=set_up,
        **options,
    )
    return pool


async def limit_transaction(
    connection: Connection, *, lock_wait_max: str, statement_seconds_max: float
) -> None:
    """Until the caller's transaction ends, let no statement take longer, nor wait longer for a lock ("2s")."""
    await connection.execute(
        f"set local lock_timeout = '{lock_wait_max}';"
        f" set local statement_timeout = '{statement_seconds_max * 1000:.0f}ms'"
    )


async def close_pool(pool: Pool) -> None:
    """Close the pool once every session is returned, or after a few seconds regardless."""
    try:
        async with asyncio.timeout(_CLOSE_POOL_SECONDS_MAX):
            await pool.close()
    except UNAVAILABLE:
        pool.terminate()


async def _prepare_session(connection: "DedicatedConnection") -> None:
    tracing.follow(connection)
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


# Dedicated connections --------------------------------------------------------------------------


async def dedicated_connection(
    dsn: str, *, service: str, idle_timeout: timedelta | None = None
) -> DedicatedConnection:
    """Connect once, for LISTEN or a lock; the owner must `heartbeat`. Raises one of `UNAVAILABLE`.

    After `idle_timeout` of silence the server ends the session.
    """
    settings = _server_settings(service) | {
        "jit": "off",
        "idle_in_transaction_session_timeout": _milliseconds(_IDLE_IN_TRANSACTION_TIMEOUT),
        **PRESUPPOSED,
        **_KEEPALIVES,
    }
    if idle_timeout is not None:
        settings["idle_session_timeout"] = _milliseconds(idle_timeout)
    try:
        return await _connect(
            dsn,
            timeout=_CONNECT_TIMEOUT_SECONDS,
            # This connection never waits for row locks.
            command_timeout=_COMMAND_TIMEOUT.total_seconds(),
            server_settings=settings,
        )
    except _UNFIT as error:
        raise _refused(dsn, error) from error


async def heartbeat(connection: Connection) -> None:
    """Talk over the connection. Raises one of `UNAVAILABLE` when no answer comes in time."""
    try:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await connection.execute(_HEARTBEAT)
    except asyncpg.QueryCanceledError as error:
        # Somebody cancelled this session's work, so what it holds is uncertain.
        raise ConnectionError("the heartbeat was cancelled") from error
    if servers.only_reads(connection.get_settings()):
        # Demoted without a restart: locks and notifications there no longer count.
        raise ConnectionError(_DEMOTED)


async def close_quietly(connection: DedicatedConnection) -> None:
    """Close the connection in order if the server answers in time, else abruptly."""
    with suppress(*UNAVAILABLE):
        await connection.close(timeout=_CLOSE_SECONDS_MAX)
    if not connection.is_closed():
        connection.terminate()


@asynccontextmanager
async def probe(dsn: str) -> "AsyncIterator[DedicatedConnection]":
    """Connect for a moment, without startup settings and named statements: `dsn` may lead through a pooler."""
    try:
        connection = await _connect(
            dsn,
            timeout=_CONNECT_TIMEOUT_SECONDS,
            command_timeout=_CONNECT_TIMEOUT_SECONDS,
            server_settings=_server_settings("probe"),
            statement_cache_size=0,
        )
    except _UNFIT as error:
        raise _refused(dsn, error) from error
    try:
        yield connection
    finally:
        await close_quietly(connection)


# Words for errors -------------------------------------------------------------------------------

# A pooler that rejects our settings, or an invalid DSN: fatal at start only. In a pool that has connected before they
# are an outage, since a pooler reports the same while its server is down.
_UNFIT: Final = (asyncpg.ProtocolViolationError, asyncpg.ClientConfigurationError)


def describe(dsn: str) -> str:
    """Name the server and database of a DSN, without its credentials: `host:port/database`."""
    parts = urlsplit(dsn)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ["localhost"]))
    return f"{hosts}{parts.path}"


def _refused(dsn: str, error: Exception) -> DatabaseUnavailable | DatabaseUnsuitable:
    """Word a refusal that an immediate retry would not change."""
    if isinstance(error, asyncpg.ProtocolViolationError):
        return DatabaseUnsuitable(
            f"{describe(dsn)} refuses session settings, as poolers do ({one_line(error)}):"
            " set DATABASE_LISTEN_URL to a direct connection to the same database."
        )
    return DatabaseUnavailable(f"The database at {describe(dsn)} refuses the connection: {one_line(error)}")


def one_line(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__


def _server_settings(service: str) -> dict[str, str]:
    return {"application_name": f"containerstacks-{service}", "timezone": "UTC"}


def _milliseconds(duration: timedelta) -> str:
    return str(round(duration.total_seconds() * 1000))


# Every statement relies on these, whatever is set for the role or the database.
PRESUPPOSED: Final = {"default_transaction_isolation": "read committed", "search_path": "public"}

# The server's side of noticing a dead peer; over a Unix socket these do nothing.
_KEEPALIVES: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
