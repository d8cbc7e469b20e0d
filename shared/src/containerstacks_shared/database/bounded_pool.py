"""A pool that gives a session up soon after a time limit has passed, when the server does not answer.

When work on the database is cancelled, by `asyncio.timeout` for example, the driver asks the server to cancel the
statement, roll back and clean the session up. All three wait for answers, by default for as long as a statement may
take. A server or network that caused the limit to pass gives none, so here each step has a second: then the session is
closed without the server. What it had begun, the server rolls back by itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.transaction import Transaction

from containerstacks_shared.core.errors import DatabaseSlow

if TYPE_CHECKING:
    _Pool = asyncpg.Pool[asyncpg.Record]
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Pool = asyncpg.Pool
    _Connection = asyncpg.Connection

# A server that answers at all does so in milliseconds.
CLEANUP_SECONDS_MAX: Final = 1.0
# How long a request from a person waits for a free session.
CONNECTION_SECONDS_MAX: Final = 2.0

_FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


@asynccontextmanager
async def time_limit(seconds: float | None) -> AsyncIterator[None]:
    """Limit work on the database. Raises `DatabaseSlow`, for a bare TimeoutError does not say which limit passed."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DatabaseSlow(f"the database did not answer within {seconds:g} s") from error


@asynccontextmanager
async def lend(
    pool: _Pool, *, within: float | None = None
) -> "AsyncIterator[PoolConnectionProxy[asyncpg.Record]]":
    """Lend a session, in all for `within` seconds. Raises `DatabaseSlow`, also when none was free soon enough."""
    async with time_limit(within):
        try:
            connection = await pool.acquire(timeout=CONNECTION_SECONDS_MAX)
        except TimeoutError as error:
            raise DatabaseSlow(
                f"no session of the database was free within {CONNECTION_SECONDS_MAX:g} s"
            ) from error
        try:
            yield connection
        finally:
            await pool.release(connection)


class BoundedPool(_Pool):
    async def release(
        self,
        connection: "PoolConnectionProxy[asyncpg.Record]",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the driver's signature
    ) -> None:
        # Close a session that cannot be cleaned up; the work on it has ended already.
        with suppress(*_FAILURES):
            await super().release(connection, timeout=timeout or CLEANUP_SECONDS_MAX)


class BoundedSession(_Connection):
    def transaction(
        self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False
    ) -> Transaction:
        return _Transaction(self, isolation, readonly, deferrable)


class _Transaction(Transaction):
    def __init__(self, session: BoundedSession, *how: Any) -> None:
        super().__init__(session, *how)
        self._session = session

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            await super().__aexit__(kind, error, traceback)
            return
        giving_up = asyncio.get_running_loop().call_later(CLEANUP_SECONDS_MAX, self._session.terminate)
        try:
            # Raise the error that ended the transaction, not the one that ROLLBACK causes on a dead session.
            with suppress(*_FAILURES):
                await super().__aexit__(kind, error, traceback)
        finally:
            giving_up.cancel()
