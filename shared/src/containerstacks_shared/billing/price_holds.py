"""Plans whose hours wait because of their price, until it is corrected or an operator releases it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import structlog

from containerstacks_shared.core.errors import ChangeRefused, NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.database.notify import Channel, announce

log = structlog.get_logger(__name__)

_QUERIES = load(__name__)


@dataclass(frozen=True)
class PriceHold:
    """`hourly_rate` is the price in force; `since` is None when it was always negative. The plan row may be gone."""

    vps_plan_id: UUID
    name: str | None
    reason: str
    since: datetime | None
    hourly_rate_before: Decimal | None
    hourly_rate: Decimal
    instances: int

    @property
    def can_be_released(self) -> bool:
        """A negative price cannot be released: it waits for its correction."""
        return self.hourly_rate >= 0


@dataclass(frozen=True)
class WaitingPlan:
    """A plan whose price is held, for readers who may not see prices."""

    vps_plan_id: UUID
    name: str | None
    instances: int


async def hold_and_lift(connection: Connection, *, factor_max: Decimal) -> None:
    """Hold prices out of proportion, and end the holds of corrected ones. Every run begins with it."""
    for held in await connection.fetch(_QUERIES["hold_prices"], factor_max):
        log.error("price.held", vps_plan_id=str(held["vps_plan_id"]), reason=held["reason"])
    try:
        async with connection.transaction():
            await connection.execute(_QUERIES["correct_rates"], None)
            lifted = await connection.fetch(_QUERIES["lift_corrected"])
    except asyncpg.LockNotAvailableError:
        # Somebody is changing a price at this moment: holds last until the next run.
        return
    for plan in lifted:
        log.warning("price.corrected", vps_plan_id=str(plan["vps_plan_id"]), held_because=plan["reason"])


async def release(
    connection: Connection,
    *,
    plan_id: UUID,
    author: str,
    release_reason: str | None = None,
    hourly_rate: Decimal | None = None,
) -> str | None:
    """Let the plan's hours be billed at its price. Returns why that was held, or None when it was not.

    What was corrected while it was held, even if only to another unusual price, is not charged at the price before.
    `hourly_rate` is the price that the operator saw. Raises `ChangeRefused` when the plan has another one by now, and
    `NotFound` when there is no such plan.
    """
    async with connection.transaction():
        await connection.execute(_QUERIES["correct_rates"], plan_id)
        reason: str | None = await connection.fetchval(
            _QUERIES["release_plan"], plan_id, author, release_reason, hourly_rate
        )
        if reason is None:
            if hourly_rate is not None and await find_releasable(connection, plan_id) is not None:
                raise ChangeRefused(
                    f"the price of plan {plan_id} has changed: it is no longer {hourly_rate:f} USD an hour"
                )
            if not await connection.fetchval(_QUERIES["plan_exists"], plan_id):
                raise NotFound(f"there is no VPS plan {plan_id}")
        await announce(connection, Channel.BILLING_CHANGED)
    return reason


async def find_releasable(connection: Connection, plan_id: UUID) -> PriceHold | None:
    """Return the hold on a plan, if an operator can release it."""
    held = await read_held(connection)
    return next((plan for plan in held if plan.vps_plan_id == plan_id and plan.can_be_released), None)


async def read_held(connection: Connection, *, limit: int | None = None) -> list[PriceHold]:
    return [PriceHold(**dict(row)) for row in await connection.fetch(_QUERIES["price_holds"], limit)]


async def read_waiting(connection: Connection) -> list[WaitingPlan]:
    return [WaitingPlan(**dict(row)) for row in await connection.fetch(_QUERIES["waiting_plans"])]
