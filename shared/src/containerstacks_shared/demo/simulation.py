"""Simulates life in the demo fleet: statuses change, instances come and go, now and then a wallet is topped up.

Touches instances of demo organizations only, whatever else the database holds.
"""

import asyncio
import heapq
import random
import time
from uuid import UUID, uuid4

import structlog

from containerstacks_shared.billing.credits import credit_wallet
from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.money import parse_amount
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database.db import FAILURES, Connection, close_quietly, dedicated_connection

from . import rows
from .transitions import TRANSITIONAL, next_status

RATE_DEFAULT = 1.0
_TICKS_PER_SECOND_MAX = 20.0
_PAUSE_AFTER_FAILURE_SECONDS = 1.0
_SHARE_DEPLOYED = 0.02
# So little, so seldom, that the poor stay poor most of the time.
_SHARE_PAID = 0.001
# Of the stopped ones that chance finds, which are one in nine: about as many as are deployed.
_SHARE_DELETED_OF_STOPPED = 0.18
_PAYMENT = parse_amount("1")

_log = structlog.get_logger(__name__)


async def simulate(dsn: str, *, rate: float, stop: asyncio.Event) -> None:
    """Make about `rate` changes per second until `stop`, also across a database that goes away and returns."""
    simulation = _Simulation()
    while not stop.is_set():
        try:
            connection = await dedicated_connection(dsn, service="demo")
            try:
                await _tick(simulation, connection, rate=rate, stop=stop)
            finally:
                await close_quietly(connection)
        except FAILURES as error:
            _log.warning("demo.database_away", error=describe(error))
        except Exception as error:  # noqa: BLE001 - the services beside it go on, whatever is wrong with the demo
            _log.error("demo.failed", error=describe(error), exc_info=error)
        await wait_for_event(stop, _PAUSE_AFTER_FAILURE_SECONDS)


async def _tick(
    simulation: "_Simulation", connection: Connection, *, rate: float, stop: asyncio.Event
) -> None:
    ticks_per_second = min(rate, _TICKS_PER_SECOND_MAX)
    changes_owed = 0.0
    while not await wait_for_event(stop, 1 / ticks_per_second):
        changes_owed += rate / ticks_per_second
        while changes_owed >= 1 and not stop.is_set():
            await simulation.change_something(connection)
            changes_owed -= 1


class _Simulation:
    """Remembers which instances are on their way, so that a reboot takes seconds and not until chance returns."""

    def __init__(self) -> None:
        self._under_way: list[tuple[float, UUID, str]] = []
        self._random = random.Random()  # noqa: S311 - A game.

    async def change_something(self, connection: Connection) -> None:
        if self._under_way and self._under_way[0][0] <= time.monotonic():
            _, identifier, status = heapq.heappop(self._under_way)
            await self._advance(connection, identifier, status)
            return
        picked = await rows.pick_instance(connection, near=uuid4())
        if picked is None:
            # Past the greatest id, or no fleet.
            return
        chance = self._random.random()
        if chance < _SHARE_DEPLOYED:
            number = self._random.randrange(1_000_000, 10_000_000)
            deployed = await rows.copy_instance(connection, picked.id, number=number)
            if deployed is not None:
                self._expect(deployed, "provisioning")
        elif chance < _SHARE_DEPLOYED + _SHARE_PAID:
            await self._pay(connection)
        elif not (
            picked.status in {"offline", "stopped"}
            and self._random.random() < _SHARE_DELETED_OF_STOPPED
            and await rows.delete_instance(connection, picked.id)
        ):
            await self._advance(connection, picked.id, picked.status)

    async def _advance(self, connection: Connection, identifier: UUID, status: str | None) -> None:
        following = next_status(status, chance=self._random.random())
        if await rows.change_status(connection, identifier, before=status, after=following):
            self._expect(identifier, following)

    def _expect(self, identifier: UUID, status: str) -> None:
        duration = TRANSITIONAL.get(status)
        if duration is not None:
            seconds = duration.total_seconds() * self._random.uniform(0.5, 1.5)
            heapq.heappush(self._under_way, (time.monotonic() + seconds, identifier, status))

    async def _pay(self, connection: Connection) -> None:
        organization = await rows.find_poorest_organization(connection)
        if organization is not None:
            await credit_wallet(
                connection,
                organization=organization,
                amount=_PAYMENT,
                reference=f"demo-{uuid4()}",
                author="demo",
            )
