"""Calls of the functions in `move_money.sql`: refusals become errors with a message, conflicts are retried."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import asyncpg

from containerstacks_shared.core.errors import ChangeRefused, ContainerStacksError
from containerstacks_shared.core.money import AMOUNT_LIMIT, CURRENCY
from containerstacks_shared.database.db import Connection

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_ATTEMPTS_MAX: Final = 5
_LOCK_WAIT_MAX: Final = "10s"


class MoneyNotGranted(ContainerStacksError):  # noqa: N818 - named by what is the case, like its siblings
    """The role in the database may not call the functions that move money."""


@contextmanager
def moving_money() -> Iterator[None]:
    """Raises `MoneyNotGranted`, and `ChangeRefused` for more than a wallet holds."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise MoneyNotGranted("on this installation only the command line moves money") from error
    except asyncpg.NumericValueOutOfRangeError as error:
        raise ChangeRefused(f"the balance would reach {AMOUNT_LIMIT:,} {CURRENCY}") from error


def retried(
    attempt: Callable[Arguments, Coroutine[Any, Any, Result]],
) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
    """Try again, at most five times in all, while others change rows under an attempt: it is rolled back then."""

    @wraps(attempt)
    async def attempts(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for _ in range(_ATTEMPTS_MAX - 1):
            try:
                return await attempt(*args, **kwargs)
            except asyncpg.SerializationError:
                continue
        return await attempt(*args, **kwargs)

    return attempts


@asynccontextmanager
async def impatient_transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction that waits ten seconds for a lock. Raises `asyncpg.LockNotAvailableError` after that."""
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{_LOCK_WAIT_MAX}'")
        yield
