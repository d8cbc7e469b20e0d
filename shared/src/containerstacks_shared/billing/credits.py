"""Bring money into a wallet, once per reference."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import asyncpg

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.money import AMOUNT_LIMIT, DECIMAL_PLACES_MAX
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import organizations

_QUERIES = load(__name__)


@dataclass(frozen=True)
class Credit:
    """`written` is False when the reference had been credited before; `balance` is the wallet's now, in USD."""

    written: bool
    balance: Decimal


@dataclass(frozen=True)
class EarlierCredit:
    """What a reference stands for already."""

    organization_id: UUID
    amount: Decimal


async def find_credit(connection: Connection, reference: str) -> EarlierCredit | None:
    row = await connection.fetchrow(_QUERIES["credit_with_reference"], reference)
    return None if row is None else EarlierCredit(**dict(row))


async def credit_wallet(
    connection: Connection,
    *,
    organization: str,
    amount: Decimal,
    reference: str,
    author: str,
    reason: str | None = None,
) -> Credit:
    """Add `amount` USD (above 0, at most 8 decimal places) to the organization's wallet, made if it has none.

    `organization` is an id or a slug. Saying the same again changes nothing. Raises `NotFound` for an unknown
    organization, and `ContainerStacksError` for an amount that no wallet can hold, or not on top of what this one
    holds, and when the reference stands for another amount or organization.
    """
    if not _is_possible(amount):
        raise ContainerStacksError(f"{amount} USD is not an amount to credit")
    async with connection.transaction():
        found = await organizations.find(connection, organization)
        try:
            row = await connection.fetchrow(_QUERIES["credit"], found.id, amount, reference, reason, author)
        except asyncpg.NumericValueOutOfRangeError as error:
            message = f"organization {organization}: its wallet cannot hold {amount:f} USD more"
            raise ContainerStacksError(message) from error
        assert row is not None
        if row["written"]:
            return Credit(written=True, balance=row["balance"])
        earlier = await find_credit(connection, reference)
        assert earlier is not None
        if (earlier.organization_id, earlier.amount) != (found.id, amount):
            raise ContainerStacksError(
                f"reference {reference!r} already stands for a credit of {earlier.amount.normalize():f} USD"
                f" to organization {earlier.organization_id}"
            )
        return Credit(written=False, balance=row["balance"])


def _is_possible(amount: Decimal) -> bool:
    """Whether a wallet can hold it unchanged."""
    return amount.is_finite() and 0 < amount < AMOUNT_LIMIT and amount == round(amount, DECIMAL_PLACES_MAX)
