"""The concurrent writes of customers and operators during a fault: each operation is retried until it succeeds.

Each operation is idempotent, because a client that loses its connection during a commit does not know the outcome.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from random import Random
from uuid import UUID

import asyncpg

from containerstacks_shared.billing.credits import credit_wallet
from containerstacks_shared.database.db import FAILURES
from faults.injection import LIMIT_SECONDS
from support.billing_model import Instance
from support.waiting import time_limit, time_passes

from .customers import Customers
from .database import CampaignDatabase

Operation = Callable[[asyncpg.Connection], Awaitable[None]]

_PAUSE_SECONDS = 0.1
_NEAR_SHARE = 0.3
_NEEDY_SHARE = 0.8


@dataclass
class Workload:
    """The operations of one round, one after another. It has its own `random`, independent of the fault's."""

    database: CampaignDatabase
    customers: Customers
    random: Random
    # The clock's full hour in this round.
    moment: datetime
    # The organization of the current batch: the first operation changes it, and some later ones do.
    focus: UUID
    done: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(self.done) or "no operation"

    async def run(self) -> None:
        weights = {
            self._top_up: 6,
            self._delete: 3,
            self._add: 3,
            self._resize: 3,
            self._reprice: 2,
            self._reboot: 3,
        }
        for draw in self.random.choices(list(weights), list(weights.values()), k=self.random.randint(3, 6)):
            await self._retry(draw())
            self.done.append(draw.__name__.strip("_"))

    async def has_begun(self) -> bool:
        """Whether an operation is done, or waits for a row that the current batch has locked."""
        return bool(self.done) or await self.database.is_waiting()

    async def _retry(self, operation: Operation) -> None:
        async with time_limit(f"the database did not take {operation.__qualname__}", LIMIT_SECONDS):
            while True:
                try:
                    session = await self.database.session()
                    try:
                        await operation(session)
                    finally:
                        session.terminate()
                except FAILURES:
                    await time_passes(_PAUSE_SECONDS)
                else:
                    return

    # Operations: each draws its values first, so that a retry repeats it -------------------------

    def _top_up(self) -> Operation:
        needy = self.random.random() < _NEEDY_SHARE
        other = self.random.choice(self.customers.poor if needy else self.customers.rich)
        organization = self.focus if self._is_near() else other
        amount = Decimal(self.random.randrange(1, 3_000_000)) / 1_000_000
        reference = f"payment-{self.customers.new_id()}"

        async def operation(session: asyncpg.Connection) -> None:
            await credit_wallet(
                session, organization=str(organization), amount=amount, reference=reference, author="faults"
            )
            wallets = self.customers.model.wallets
            wallets[organization] = wallets.get(organization, Decimal(0)) + amount

        return operation

    def _delete(self) -> Operation:
        instance = self._any_instance()

        async def operation(session: asyncpg.Connection) -> None:
            await session.execute("delete from vps_instances where id = $1", instance.id)
            instance.deleted_at = await session.fetchval(
                "select deleted_at from deleted_vps_instances where id = $1", instance.id
            )

        return operation

    def _add(self) -> Operation:
        instances = [
            self.customers.draw(
                organization=self.random.choice(self.customers.organizations), hours_ago=1, since=self.moment
            )
            for _ in range(self.random.randint(1, 2))
        ]

        async def operation(session: asyncpg.Connection) -> None:
            await self.customers.add_instances(session, instances)

        return operation

    def _resize(self) -> Operation:
        instance = self._any_instance()
        reference = self.random.choice(self.customers.references)

        async def operation(session: asyncpg.Connection) -> None:
            async with session.transaction():
                await session.execute(
                    "update vps_instances set plan_id = $2 where id = $1", instance.id, reference
                )
                moment = await session.fetchval("select clock_now()")
            instance.plans.append((moment, reference))

        return operation

    def _reprice(self) -> Operation:
        plan = self.random.choice(self.customers.plans)
        price = self.customers.price()

        async def operation(session: asyncpg.Connection) -> None:
            async with session.transaction():
                await session.execute("update vps_plans set base_price = $2 where id = $1", plan.id, price)
                moment = await session.fetchval("select clock_now()")
            self.customers.priced(plan, moment, price)

        return operation

    def _reboot(self) -> Operation:
        """Update many rows that a run updates too, in another order."""
        rebooted = [instance.id for instance in self.random.sample(self.customers.existing(), 40)]
        status = self.random.choice(["running", "stopped", "rebooting"])

        async def operation(session: asyncpg.Connection) -> None:
            await session.execute(
                "update vps_instances set status = $2 where id = any ($1)", rebooted, status
            )

        return operation

    def _any_instance(self) -> Instance:
        near = self.customers.existing(self.focus) if self._is_near() else []
        return self.random.choice(near or self.customers.existing())

    def _is_near(self) -> bool:
        return not self.done or self.random.random() < _NEAR_SHARE
