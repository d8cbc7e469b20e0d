"""Give money back: of one billing cycle, or of everything that a run charged.

A refund is a movement of its own and deletes nothing. The cycle becomes `refunded`, its hours stay covered and are
never billed again. A cycle is refunded once, also under concurrent attempts: its status is compared and set, its id
is the refund's unique reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Self
from uuid import UUID

import asyncpg

from containerstacks_shared.core.errors import BillingBusy, ContainerStacksError, NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from .documents import RunStatus
from .move_money import impatient_transaction, retried

_QUERIES = load(__name__)
_CYCLES_AT_ONCE = 5000


@dataclass(frozen=True)
class Refund:
    """What was given back just now, in USD. `left_over` cycles have no debit, or their wallet is gone."""

    cycles: int = 0
    hours: int = 0
    amount: Decimal = Decimal(0)
    left_over: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.cycles + other.cycles,
            self.hours + other.hours,
            self.amount + other.amount,
            self.left_over + other.left_over,
        )


@dataclass(frozen=True)
class _Decision:
    run_id: int | None
    cycle_id: UUID | None
    reason: str
    author: str


async def refund_cycle(connection: Connection, cycle_id: UUID, *, reason: str, author: str) -> Refund:
    """Refund one cycle; an empty `Refund` when that was done before.

    Raises `NotFound`, and `ContainerStacksError` for a cycle that this project did not charge.
    """
    cycle = await connection.fetchrow(_QUERIES["cycle"], cycle_id)
    if cycle is None:
        raise NotFound(f"there is no billing cycle {cycle_id}")
    if cycle["billing_run_id"] is None and cycle["billing_correction_id"] is not None:
        raise ContainerStacksError(f"billing cycle {cycle_id} was written off: nobody paid it")
    if cycle["billing_run_id"] is None:
        raise ContainerStacksError(
            f"billing cycle {cycle_id} was charged by another application, not by this one"
        )
    if cycle["status"] == "refunded":
        return Refund()
    if cycle["status"] != "billed":
        raise ContainerStacksError(f"billing cycle {cycle_id} is {cycle['status']}: nobody paid it")
    decision = _Decision(None, cycle_id, reason, author)
    _, refund = await _refund(connection, [cycle_id], decision, None)
    return refund


async def refund_run(connection: Connection, run_id: int, *, reason: str, author: str) -> Refund:
    """Refund everything the run charged that is not refunded yet, a few thousand cycles per transaction.

    Interrupted, it has refunded a part, and goes on when it is called again. Raises `NotFound`, and `BillingBusy`
    for a run that is not over.
    """
    status = await connection.fetchval(_QUERIES["run_status"], run_id)
    if status is None:
        raise NotFound(f"there is no billing run {run_id}")
    if status == RunStatus.RUNNING:
        raise BillingBusy(f"billing run {run_id} is going on; refund it when it is over")
    span = await connection.fetchrow(_QUERIES["billed_cycles"], run_id)
    assert span is not None
    total = Refund()
    if span["cycles"] == 0:
        return total
    decision = _Decision(run_id, None, reason, author)
    decision_id = None
    after = UUID(int=span["first_id"].int - 1)
    while page := await _page(connection, run_id, after=after, last=span["last_id"]):
        decision_id, refund = await _refund(connection, page, decision, decision_id)
        total += refund
        after = page[-1]
    return total


async def _page(connection: Connection, run_id: int, *, after: UUID, last: UUID) -> list[UUID]:
    rows = await connection.fetch(_QUERIES["page_of_run"], run_id, after, last, _CYCLES_AT_ONCE)
    return [row["id"] for row in rows]


@retried
async def _refund(
    connection: Connection, cycles: Sequence[UUID], decision: _Decision, decision_id: int | None
) -> tuple[int | None, Refund]:
    try:
        async with impatient_transaction(connection):
            row = await connection.fetchrow(
                _QUERIES["refund"],
                cycles,
                decision_id,
                decision.run_id,
                decision.cycle_id,
                decision.reason,
                decision.author,
            )
            assert row is not None
            left_over = await connection.fetchval(_QUERIES["still_billed"], cycles)
    except asyncpg.LockNotAvailableError as error:
        raise BillingBusy(
            "somebody else holds a wallet to refund into, or charges are being archived; try again"
        ) from error
    return decision_id or row["decision_id"], Refund(row["cycles"], row["hours"], row["amount"], left_over)
