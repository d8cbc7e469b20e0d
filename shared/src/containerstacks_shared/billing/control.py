"""Pause and resume all billing."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from containerstacks_shared.core.errors import BillingPaused, ChangeRefused
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.database.notify import Channel, announce

_QUERIES = load(__name__)


@dataclass(frozen=True)
class Pause:
    """Whether billing is paused; who said so, when and why."""

    paused: bool
    reason: str | None
    changed_by: str | None
    changed_at: datetime | None


@dataclass(frozen=True)
class BillingControl(Pause):
    """What an adoption found owed, in USD, and the part of it that the wallets covered."""

    amount_owed: Decimal | None
    amount_payable: Decimal | None


async def read_pause(connection: Connection) -> Pause:
    row = await connection.fetchrow(_QUERIES["read_pause"])
    assert row is not None
    return Pause(**dict(row))


async def read_control(connection: Connection) -> BillingControl:
    row = await connection.fetchrow(_QUERIES["read_control"])
    assert row is not None
    return BillingControl(**dict(row))


async def assert_not_paused(connection: Connection) -> None:
    """Raises `BillingPaused` with the reason."""
    control = await read_control(connection)
    if control.paused:
        raise BillingPaused(f"billing is paused by {control.changed_by}: {control.reason}")


async def pause(connection: Connection, *, reason: str, author: str) -> None:
    """Pause all billing after the current batch. Hours remain owed; nothing is lost.

    Raises `ChangeRefused` when it is paused already, so that the first reason is kept.
    """
    if await connection.fetchval(_QUERIES["pause"], reason, author) is None:
        control = await read_control(connection)
        raise ChangeRefused(f"billing is paused already, by {control.changed_by}: {control.reason}")
    await announce(connection, Channel.BILLING_CHANGED)


async def resume(connection: Connection, *, reason: str, author: str) -> bool:
    """Resume billing; the active biller begins at once. False when it was not paused."""
    resumed = await connection.fetchval(_QUERIES["resume"], reason, author) is not None
    await announce(connection, Channel.BILLING_CHANGED)
    return resumed
