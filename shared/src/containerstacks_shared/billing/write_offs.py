"""Forgive what an organization owes and cannot pay: on record, and without moving any money.

The forgiven hours become cycles of their own, so that each instance's chain goes on where they end, and nobody
ever bills them again.
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import asyncpg

from containerstacks_shared.core.errors import BillingBusy, ChangeRefused, NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import organizations

from .move_money import impatient_transaction, retried

_QUERIES = load(__name__)


@dataclass(frozen=True)
class WriteOff:
    """What was forgiven, in USD at the rates in force; `instances` is 0 when nothing was owed."""

    instances: int
    hours: int
    amount: Decimal
    debts_closed: int


@dataclass(frozen=True)
class Owed:
    """What a write-off would forgive now, in USD. Hours that the wallet pays for are billed before that.

    `label` is that of the instance that was asked for, if it owes anything.
    """

    hours_payable: int
    instances: int
    hours: int
    amount: Decimal
    label: str | None


async def read_owed(connection: Connection, organization: UUID, instance: UUID | None) -> Owed:
    row = await connection.fetchrow(_QUERIES["owed"], organization, instance)
    assert row is not None
    return Owed(**dict(row))


@retried
async def write_off_organization(
    connection: Connection, organization: str, *, reason: str, author: str
) -> WriteOff:
    """Forgive every whole hour that the organization (an id or a slug) owes now.

    Raises `NotFound`, and `BillingBusy` while its wallet pays for some of these hours: they are billed first.
    """
    found = await organizations.find(connection, organization)
    return await _write_off(connection, found.id, None, reason=reason, author=author)


@retried
async def write_off_instance(connection: Connection, instance: UUID, *, reason: str, author: str) -> WriteOff:
    """Forgive every whole hour that the instance, deleted or not, owes now. Raises as for an organization."""
    organization: UUID | None = await connection.fetchval(_QUERIES["instance_organization"], instance)
    if organization is None:
        raise NotFound(f"there is no VPS instance {instance}, and there never was")
    return await _write_off(connection, organization, instance, reason=reason, author=author)


@retried
async def write_off_amount(
    connection: Connection,
    organization: UUID,
    *,
    instance: UUID | None,
    amount: Decimal,
    reason: str,
    author: str,
) -> WriteOff:
    """Forgive what the organization owes now, or one instance of it, if it is this amount to the digit.

    Raises `ChangeRefused` when it is another one, and `BillingBusy` as above.
    """
    return await _write_off(connection, organization, instance, amount=amount, reason=reason, author=author)


async def _write_off(
    connection: Connection,
    organization: UUID,
    instance: UUID | None,
    *,
    amount: Decimal | None = None,
    reason: str,
    author: str,
) -> WriteOff:
    try:
        async with impatient_transaction(connection):
            row = await connection.fetchrow(
                _QUERIES["write_off"], organization, instance, amount, reason, author
            )
    except asyncpg.LockNotAvailableError as error:
        raise BillingBusy(f"organization {organization} is being billed; try again") from error
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        raise ChangeRefused(str(error)) from error
    assert row is not None
    if row["hours_payable"]:
        raise BillingBusy(
            f"the wallet of organization {organization} pays for {row['hours_payable']} of these hours;"
            " they are billed by the next run, and what is then left can be written off"
        )
    return WriteOff(row["instances"], row["hours"], row["amount"], row["debts_closed"])
