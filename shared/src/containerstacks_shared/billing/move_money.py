"""What the database has against moving money, in words: credits, refunds and write-offs of `move_money.sql`."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from containerstacks_shared.core.errors import ChangeRefused, ContainerStacksError
from containerstacks_shared.core.money import AMOUNT_LIMIT, CURRENCY


class MoneyNotGranted(ContainerStacksError):  # noqa: N818 - named by what is the case, like its siblings
    """The role in the database may not call the functions that move money."""


@contextmanager
def moving_money() -> Iterator[None]:
    """Raises `MoneyNotGranted`, and `ChangeRefused` for more than a wallet holds."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise MoneyNotGranted("money is moved by the command line alone here") from error
    except asyncpg.NumericValueOutOfRangeError as error:
        raise ChangeRefused(f"the balance would reach {AMOUNT_LIMIT:,} {CURRENCY}") from error
