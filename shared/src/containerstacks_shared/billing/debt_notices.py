"""Stores notices about debts in the outbox, once each.

A debt is noted when it has been open for longer than the grace, and noted again when it is closed, by money or
by a write-off. A receiver that was never notified of a debt is not notified of its end either.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

import asyncpg

from containerstacks_shared.core.documents import Document, Figure, Timestamp
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.outbox import messages
from containerstacks_shared.outbox.messages import Draft, Topic

# A transaction's worth; the rest follows at once.
_AT_ONCE: Final = 500

_QUERIES = load(__name__)


class DebtEvent(StrEnum):
    OVERDUE = "debt_overdue"
    SETTLED = "debt_settled"


@dataclass(frozen=True)
class Debt:
    """A debt to notify one receiver of. `since` is where its first unpaid hour starts."""

    vps_debt_id: int
    vps_instance_id: UUID
    organization_id: UUID
    opened_at: datetime
    since: datetime
    receiver: str
    settled_by: str | None = None


class DebtNotice(Document):
    """The notice. `since` is where the first unpaid hour starts; what is owed is as of this event, in USD."""

    event: DebtEvent
    organization_id: UUID
    instance_id: UUID
    since: Timestamp
    opened_at: Timestamp
    hours_owed: int = 0
    amount_owed: Figure = Decimal(0)
    # "payment" or "write_off", once it is settled.
    settled_by: str | None = None


async def note_debts(connection: Connection, *, grace: timedelta, receivers: Sequence[str]) -> bool:
    """Store the notices that are due. Returns whether there may be more. The caller owns the transaction."""
    await connection.execute(_QUERIES["withdraw"])
    settled = _debts(await connection.fetch(_QUERIES["settled_debts"], _AT_ONCE))
    for debt in settled:
        await _note(connection, debt, DebtEvent.SETTLED)
        await connection.execute(_QUERIES["close"], debt.vps_debt_id, debt.receiver)
    overdue = await find_overdue(connection, grace=grace, receivers=receivers, limit=_AT_ONCE)
    if overdue:
        owed = await _read_owed(connection, {debt.organization_id for debt in overdue})
        # Those that were closed before their hours were counted seem to owe none.
        still = set(await find_overdue(connection, grace=grace, receivers=receivers, limit=_AT_ONCE))
        for debt in (debt for debt in overdue if debt in still):
            hours, amount = owed.get(debt.vps_instance_id, (0, Decimal(0)))
            await _note(connection, debt, DebtEvent.OVERDUE, hours=hours, amount=amount)
    return _AT_ONCE in {len(settled), len(overdue)}


async def find_overdue(
    connection: Connection, *, grace: timedelta, receivers: Sequence[str], limit: int
) -> list[Debt]:
    """Read what is open for longer than the grace, and not noted yet, one entry for each receiver."""
    return _debts(await connection.fetch(_QUERIES["overdue_debts"], grace, list(receivers), limit))


def _debts(rows: Iterable[asyncpg.Record]) -> list[Debt]:
    return [Debt(**dict(row)) for row in rows]


async def _note(
    connection: Connection, debt: Debt, event: DebtEvent, *, hours: int = 0, amount: Decimal = Decimal(0)
) -> None:
    notice = DebtNotice(
        event=event,
        organization_id=debt.organization_id,
        instance_id=debt.vps_instance_id,
        since=debt.since,
        opened_at=debt.opened_at,
        hours_owed=hours,
        amount_owed=amount,
        settled_by=debt.settled_by,
    )
    draft = Draft(debt.vps_debt_id, debt.receiver, notice.model_dump(mode="json"))
    await messages.put(connection, Topic.DEBT, event.value, [draft], awaits_end=event is DebtEvent.OVERDUE)


async def _read_owed(connection: Connection, organizations: set[UUID]) -> dict[UUID, tuple[int, Decimal]]:
    now = await connection.fetchval("select clock_now()")
    rows = await connection.fetch(_QUERIES["owed"], list(organizations), now)
    return {row["id"]: (row["hours"], row["amount"]) for row in rows}
