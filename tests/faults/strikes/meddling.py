"""What customers and operators do while billers are struck: each deed is insisted on until the database has it.

Each deed is idempotent, because a client that loses its connection during a commit does not know the outcome.
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
from faults.strikes import LIMIT_SECONDS
from support.billing_model import Instance
from support.waiting import time_limit, time_passes

from .arena import Arena
from .customers import Customers

Deed = Callable[[asyncpg.Connection], Awaitable[None]]

_PAUSE_SECONDS = 0.1
_NEAR_SHARE = 0.3
_NEEDY_SHARE = 0.8


@dataclass
class Meddling:
    """One round's deeds, one after another. It has its own `random`: its order of events is not the strike's."""

    arena: Arena
    customers: Customers
    random: Random
    # The clock's full hour in this round.
    moment: datetime
    # Whose batch is in hand: the first deed is about it, and some later ones.
    focus: UUID
    done: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(self.done) or "no deed"

    async def meddle(self) -> None:
        deeds = {
            self._top_up: 6,
            self._delete: 3,
            self._add: 3,
            self._resize: 3,
            self._reprice: 2,
            self._reboot: 3,
        }
        for draw in self.random.choices(list(deeds), list(deeds.values()), k=self.random.randint(3, 6)):
            await self._insist(draw())
            self.done.append(draw.__name__.strip("_"))

    async def is_under_way(self) -> bool:
        """Whether a deed is done, or waits for a row that the batch in hand has locked."""
        return bool(self.done) or await self.arena.is_waiting()

    async def _insist(self, deed: Deed) -> None:
        async with time_limit(f"the database did not take {deed.__qualname__}", LIMIT_SECONDS):
            while True:
                try:
                    session = await self.arena.session()
                    try:
                        await deed(session)
                    finally:
                        session.terminate()
                except FAILURES:
                    await time_passes(_PAUSE_SECONDS)
                else:
                    return

    # Deeds: drawn first, then done ---------------------------------------------------------------

    def _top_up(self) -> Deed:
        needy = self.random.random() < _NEEDY_SHARE
        somebody = self.random.choice(self.customers.poor if needy else self.customers.rich)
        organization = self.focus if self._is_near() else somebody
        amount = Decimal(self.random.randrange(1, 3_000_000)) / 1_000_000
        reference = f"payment-{self.customers.new_id()}"

        async def deed(session: asyncpg.Connection) -> None:
            await credit_wallet(
                session, organization=str(organization), amount=amount, reference=reference, author="faults"
            )
            wallets = self.customers.model.wallets
            wallets[organization] = wallets.get(organization, Decimal(0)) + amount

        return deed

    def _delete(self) -> Deed:
        instance = self._somebody()

        async def deed(session: asyncpg.Connection) -> None:
            await session.execute("delete from vps_instances where id = $1", instance.id)
            instance.deleted_at = await session.fetchval(
                "select deleted_at from deleted_vps_instances where id = $1", instance.id
            )

        return deed

    def _add(self) -> Deed:
        instances = [
            self.customers.born(
                organization=self.random.choice(self.customers.organizations), hours_ago=1, since=self.moment
            )
            for _ in range(self.random.randint(1, 2))
        ]

        async def deed(session: asyncpg.Connection) -> None:
            await self.customers.add_instances(session, instances)

        return deed

    def _resize(self) -> Deed:
        instance = self._somebody()
        reference = self.random.choice(self.customers.references)

        async def deed(session: asyncpg.Connection) -> None:
            async with session.transaction():
                await session.execute(
                    "update vps_instances set plan_id = $2 where id = $1", instance.id, reference
                )
                moment = await session.fetchval("select clock_now()")
            instance.plans.append((moment, reference))

        return deed

    def _reprice(self) -> Deed:
        plan = self.random.choice(self.customers.plans)
        price = self.customers.price()

        async def deed(session: asyncpg.Connection) -> None:
            async with session.transaction():
                await session.execute("update vps_plans set base_price = $2 where id = $1", plan.id, price)
                moment = await session.fetchval("select clock_now()")
            self.customers.priced(plan, moment, price)

        return deed

    def _reboot(self) -> Deed:
        """Touch many rows that a run touches too, in an order that is not the run's."""
        rebooted = [instance.id for instance in self.random.sample(self.customers.living(), 40)]
        status = self.random.choice(["running", "stopped", "rebooting"])

        async def deed(session: asyncpg.Connection) -> None:
            await session.execute(
                "update vps_instances set status = $2 where id = any ($1)", rebooted, status
            )

        return deed

    def _somebody(self) -> Instance:
        near = self.customers.living(self.focus) if self._is_near() else []
        return self.random.choice(near or self.customers.living())

    def _is_near(self) -> bool:
        return not self.done or self.random.random() < _NEAR_SHARE
