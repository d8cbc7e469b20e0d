"""Forgive what an organization owes and cannot pay: on record, and without moving any money.

The forgiven hours become cycles of their own, so that each instance's chain goes on where they end, and nobody
ever bills them again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import asyncpg

from containerstacks_shared.core.errors import BillingBusy, ContainerStacksError, NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.database.notify import Channel
from containerstacks_shared.fleet import organizations

_QUERIES = load(__name__)
_ATTEMPTS_MAX = 5
_LOCK_WAIT_MAX = "10s"


class InstanceMoved(ContainerStacksError):  # noqa: N818 - named by what happened
    """Somebody else advanced, moved or deleted an instance meanwhile. Roll back, and look again."""


@dataclass(frozen=True)
class WriteOff:
    """What was forgiven, in USD at the rates in force; `instances` is 0 when nothing was owed."""

    instances: int
    hours: int
    amount: Decimal
    debts_closed: int


async def write_off_organization(
    connection: Connection, organization: str, *, reason: str, author: str
) -> WriteOff:
    """Forgive every whole hour that the organization (an id or a slug) owes now.

    Raises `NotFound`, and `BillingBusy` while its wallet pays for some of these hours: they are billed first.
    """
    found = await organizations.find(connection, organization)

    async def attempt() -> WriteOff:
        return await _write_off(connection, found.id, None, reason, author)

    return await _until_nobody_moves(attempt)


async def write_off_instance(connection: Connection, instance: UUID, *, reason: str, author: str) -> WriteOff:
    """Forgive every whole hour that the instance, deleted or not, owes now. Raises as for an organization."""

    async def attempt() -> WriteOff:
        organization: UUID | None = await connection.fetchval(_QUERIES["instance_organization"], instance)
        if organization is None:
            raise NotFound(f"there is no VPS instance {instance}, and there never was")
        return await _write_off(connection, organization, instance, reason, author)

    return await _until_nobody_moves(attempt)


async def _until_nobody_moves(attempt: Callable[[], Awaitable[WriteOff]]) -> WriteOff:
    for _ in range(_ATTEMPTS_MAX - 1):
        try:
            return await attempt()
        except InstanceMoved:
            # What it owes is to be found elsewhere now.
            continue
    return await attempt()


async def _write_off(
    connection: Connection, organization: UUID, instance: UUID | None, reason: str, author: str
) -> WriteOff:
    try:
        return await _write_off_once(connection, organization, instance, reason, author)
    except asyncpg.LockNotAvailableError as error:
        raise BillingBusy(f"organization {organization} is being billed; try again") from error


async def _write_off_once(
    connection: Connection, organization: UUID, instance: UUID | None, reason: str, author: str
) -> WriteOff:
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{_LOCK_WAIT_MAX}'")
        await connection.execute(_QUERIES["hold_billing"])
        await connection.execute(_QUERIES["lock_wallets"], [organization])
        now = await connection.fetchval("select clock_now()")
        row = await connection.fetchrow(_QUERIES["write_off"], [organization], now, instance, reason, author)
        assert row is not None
        if row["hours_payable"]:
            raise BillingBusy(
                f"the wallet of organization {organization} pays for {row['hours_payable']} of these hours;"
                " they are billed by the next run, and what is then left can be written off"
            )
        if row["instances_advanced"] != row["instances"]:
            raise InstanceMoved(f"an instance of organization {organization} changed under a write-off")
        await connection.execute("select pg_notify($1, '')", Channel.BILLING_CHANGED.value)
        return WriteOff(row["instances"], row["hours"], row["amount"], row["debts_closed"])
