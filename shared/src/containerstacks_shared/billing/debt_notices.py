"""Note in the outbox what the operator's systems are to be told about debts, once each.

A debt is noted when it has been open for longer than the grace, and noted again when it is closed, by money or
by a write-off. Who is never told of a debt is not told of its end either.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from containerstacks_shared.core.documents import Document, Figure, Timestamp
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from . import debt_outbox
from .debt_outbox import Debt

# A transaction's worth; the rest follows at once.
_AT_ONCE: Final = 500

_OWED = load(__name__, "debt_outbox")["owed"]


class DebtEvent(StrEnum):
    OVERDUE = "debt_overdue"
    SETTLED = "debt_settled"


class DebtNotice(Document):
    """What is told. `since` is where the first unpaid hour starts; what is owed is as of this event, in USD."""

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
    """Note what is to be told now. Whether there may be more. The caller owns the transaction."""
    await debt_outbox.withdraw(connection)
    settled = await debt_outbox.find_settled(connection, limit=_AT_ONCE)
    for debt in settled:
        await _note(connection, debt, DebtEvent.SETTLED)
        await debt_outbox.close(connection, debt)
    overdue = await debt_outbox.find_overdue(connection, grace=grace, receivers=receivers, limit=_AT_ONCE)
    owed = await _read_owed(connection, {debt.organization_id for debt in overdue}) if overdue else {}
    for debt in overdue:
        hours, amount = owed.get(debt.vps_instance_id, (0, Decimal(0)))
        await _note(connection, debt, DebtEvent.OVERDUE, hours=hours, amount=amount)
    return _AT_ONCE in {len(settled), len(overdue)}


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
    await debt_outbox.note(connection, debt, event=event.value, payload=notice.model_dump(mode="json"))


async def _read_owed(connection: Connection, organizations: set[UUID]) -> dict[UUID, tuple[int, Decimal]]:
    now = await connection.fetchval("select clock_now()")
    rows = await connection.fetch(_OWED, list(organizations), now)
    return {row["id"]: (row["hours"], row["amount"]) for row in rows}
