"""Rounds: let hours pass, stop a run in its middle, strike, release it, and audit exactly."""

import asyncio
import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from uuid import UUID

from containerstacks_shared.billing.verify import verify
from faults.strikes import LIMIT_SECONDS
from support.processes import Processes
from support.waiting import eventually

from .arena import Arena, open_arena
from .billers import Billers
from .blows import BEFORE_WRITING, BLOWS, DECK, Kind, Strike
from .customers import Customers
from .meddling import Meddling

_HOURS_AT_ONCE = (1, 4)
_EARLY_SHARE = 0.3
_WRITTEN_SHARE = 0.5
_DECIDED_SECONDS = 20.0


@dataclass
class Campaign:
    """One seed decides the fleet, the strikes, their targets and what customers do; only the timing is chance."""

    seed: int
    arena: Arena
    billers: Billers
    customers: Customers
    tell: Callable[[str], None]
    survived: Counter[Kind] = field(default_factory=Counter)
    _deck: list[Kind] = field(default_factory=list)
    _repeated: int = 0

    async def strike(self, kind: Kind | None = None) -> None:
        """Strike once, and audit. Raises `AssertionError` when a cent or a process went astray."""
        number = self.survived.total() + 1
        random = Random(f"{self.seed}-{number}")
        kind = kind or self._next_kind()
        began = asyncio.get_running_loop().time()
        organization = random.choice(self._lively())
        # Before the first write of a batch, or in its middle, or before its commit.
        early = kind in BEFORE_WRITING or random.random() < _EARLY_SHARE
        instance = None if early else random.choice(self.customers.living(organization)).id
        async with self.arena.obstacle(organization=organization, instance=instance) as obstacle:
            moment = await self.arena.advance(random.randint(*_HOURS_AT_ONCE))
            run = await self.arena.run_blocked_by(obstacle)
            place = "at a wallet" if instance is None else "at an instance"
            if not early and random.random() < _WRITTEN_SHARE:
                place = "before the commit"
                await self.arena.let_batch_write(run, obstacle)
            strike = Strike(self.arena, self.billers, self.customers, random, obstacle, run)
            chance = Random(f"{self.seed}-{number}-deeds")
            meddling = Meddling(self.arena, self.customers, chance, moment, organization)
            try:
                async with asyncio.TaskGroup() as group:
                    deeds = group.create_task(meddling.meddle())
                    # Some deed has met the batch in hand, before that is struck.
                    await eventually(meddling.is_under_way, LIMIT_SECONDS)
                    await BLOWS[kind](strike)
                    await obstacle.let_go()
                    group.create_task(self.billers.fill_places())
                    await deeds
                    await self._settle()
                # The billers' first runs came before the first strike.
                await self._audit(moment if self.survived else self.arena.begun_at)
            except BaseException as error:
                error.add_note(f"strike {number}: {kind} {place}, {strike.detail}; {meddling}")
                raise
        self.survived[kind] += 1
        seconds = asyncio.get_running_loop().time() - began
        self.tell(f"{number:4}  {kind:15} {seconds:5.1f} s  {place}, {strike.detail}; {meddling}")

    def report(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.survived.items()))
        return (
            f"billing survived {self.survived.total()} strikes, seed {self.seed} ({kinds or 'none at all'})"
        )

    def _next_kind(self) -> Kind:
        if not self._deck:
            self._deck = [kind for kind, count in DECK.items() for _ in range(count)]
            Random(f"{self.seed}-{self.survived.total()}-deck").shuffle(self._deck)
        return self._deck.pop()

    def _lively(self) -> list[UUID]:
        return [organization for organization in self.customers.rich if self.customers.living(organization)]

    async def _settle(self) -> None:
        """Wait until every hour due is decided. A run that failed is repeated now, not at the next hour.

        So is one that left a debt to the next run, because somebody was writing its instance.
        """
        loop = asyncio.get_running_loop()
        repeat_at = loop.time() + _DECIDED_SECONDS

        async def settled() -> bool:
            nonlocal repeat_at
            if await self.arena.is_settled():
                return True
            failed = await self.arena.failed_run()
            if failed is not None and failed > self._repeated:
                self._repeated = failed
                await self.arena.end_sessions()
            elif loop.time() > repeat_at:
                repeat_at = loop.time() + _DECIDED_SECONDS
                await self.arena.end_sessions()
            return False

        await eventually(settled, LIMIT_SECONDS, pause=0.1)

    async def _audit(self, since: datetime) -> None:
        connection = await self.arena.connection()
        # Autovacuum would do it within a minute, and a round is shorter.
        await connection.execute("analyze vps_billing_cycles, payment_transactions, wallet_ledger_entries")
        damage = [
            *await self.customers.differences(connection, since=since),
            *[str(finding) for finding in await verify(connection)],
            *self.billers.complaints(),
        ]
        assert not damage, "\n".join(damage)


@contextlib.asynccontextmanager
async def open_campaign(seed: int, *, tell: Callable[[str], None]) -> AsyncIterator[Campaign]:
    """Set up server, fleet and processes; the logs of a campaign that failed are kept, and it says where."""
    folder = Path(tempfile.mkdtemp(prefix="containerstacks-strikes-"))
    async with open_arena() as arena:
        customers = Customers(Random(seed), arena.begun_at)
        await customers.settle_in(await arena.connection())
        billers = Billers(arena.dsn, folder, Processes(folder))
        campaign = Campaign(seed, arena, billers, customers, tell)
        try:
            await billers.fill_places()
            yield campaign
            shutil.rmtree(folder)
        except BaseException as error:
            error.add_note(f"{campaign.report()}; logs in {folder}")
            raise
        finally:
            await billers.end_all()
