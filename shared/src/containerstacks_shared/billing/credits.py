"""Bring money into a wallet, once per reference."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import asyncpg

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.money import AMOUNT_LIMIT, CURRENCY, DECIMAL_PLACES_MAX
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import action_log, organizations

_QUERIES = load(__name__)


@dataclass(frozen=True)
class Credit:
    """`written` is False when the reference had been credited before; `balance` is the wallet's now, in USD."""

    written: bool
    balance: Decimal


async def credit_wallet(
    connection: Connection, *, organization: str, amount: Decimal, reference: str, author: str
) -> Credit:
    """Add `amount` USD (above 0, at most 8 decimal places) to the organization's wallet, made if it has none.

    `organization` is an id or a slug. Saying the same again changes nothing. Raises `NotFound` for an unknown
    organization, and `ContainerStacksError` for an impossible amount, or when the reference stands for another
    amount or organization.
    """
    if not _is_possible(amount):
        raise ContainerStacksError(f"{amount} USD is not an amount to credit")
    async with connection.transaction():
        found = await organizations.find(connection, organization)
        wallet = await connection.fetchrow(_QUERIES["lock_wallet"], found.id)
        if wallet is None:
            wallet = await _make_wallet(connection, found.id)
        balance = await connection.fetchval(
            _QUERIES["credit"],
            wallet["id"],
            found.id,
            amount,
            wallet["balance"],
            reference,
            f"Wallet credit - {reference}",
            author,
        )
        if balance is not None:
            await action_log.add(
                connection,
                "wallet credited",
                actor=author,
                subject=f"organization {found.id}",
                reason=reference,
                details={"amount": f"{amount:f}", "currency": CURRENCY},
            )
            return Credit(written=True, balance=balance)
        earlier = await connection.fetchrow(_QUERIES["credit_with_reference"], reference)
        assert earlier is not None
        if (earlier["organization_id"], earlier["amount"]) != (found.id, amount):
            raise ContainerStacksError(
                f"reference {reference!r} already stands for a credit of {earlier['amount'].normalize():f} USD"
                f" to organization {earlier['organization_id']}"
            )
        return Credit(written=False, balance=wallet["balance"])


def _is_possible(amount: Decimal) -> bool:
    """Whether a wallet can hold it unchanged."""
    return amount.is_finite() and 0 < amount < AMOUNT_LIMIT and amount == round(amount, DECIMAL_PLACES_MAX)


async def _make_wallet(connection: Connection, organization: UUID) -> asyncpg.Record:
    await connection.execute(_QUERIES["lock_organization"], organization)
    # Somebody else's credit may have made one while this one waited.
    wallet = await connection.fetchrow(_QUERIES["lock_wallet"], organization)
    if wallet is None:
        wallet = await connection.fetchrow(_QUERIES["create_wallet"], organization)
    assert wallet is not None
    return wallet
