"""Rounds: let hours pass, stop a run in its middle, inject a fault, release the run, and audit exactly."""

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
from faults.injection import LIMIT_SECONDS
from support.processes import Processes
from support.waiting import eventually

from .billers import Billers
from .customers import Customers
from .database import CampaignDatabase, open_database
from .injectors import BEFORE_WRITING, INJECTORS, MIX, Fault, Injection
from .workload import Workload

_HOURS_AT_ONCE = (1, 4)
_EARLY_SHARE = 0.3
_WRITTEN_SHARE = 0.5
_DECIDED_SECONDS = 20.0


@dataclass
class Campaign:
    """One seed decides the fleet, the faults, their targets and the workload; only the timing varies."""

    seed: int
    database: CampaignDatabase
    billers: Billers
    customers: Customers
    log: Callable[[str], None]
    survived: Counter[Fault] = field(default_factory=Counter)
    _pending: list[Fault] = field(default_factory=list)
    _repeated: int = 0

    async def inject(self, fault: Fault | None = None) -> None:
        """Inject one fault, and audit. Raises `AssertionError` when an amount is wrong or a process failed."""
        number = self.survived.total() + 1
        random = Random(f"{self.seed}-{number}")
        fault = fault or self._next_fault()
        began = asyncio.get_running_loop().time()
        organization = random.choice(self._billable())
        # Before the first write of a batch, or in its middle, or before its commit.
        early = fault in BEFORE_WRITING or random.random() < _EARLY_SHARE
        instance = None if early else random.choice(self.customers.existing(organization)).id
        async with self.database.row_lock(organization=organization, instance=instance) as row_lock:
            moment = await self.database.advance(random.randint(*_HOURS_AT_ONCE))
            run = await self.database.run_blocked_by(row_lock)
            place = "at a wallet" if instance is None else "at an instance"
            if not early and random.random() < _WRITTEN_SHARE:
                place = "before the commit"
                await self.database.delay_commit(run, row_lock)
            injection = Injection(self.database, self.billers, self.customers, random, row_lock, run)
            chance = Random(f"{self.seed}-{number}-operations")
            workload = Workload(self.database, self.customers, chance, moment, organization)
            try:
                async with asyncio.TaskGroup() as group:
                    operations = group.create_task(workload.run())
                    # The first operation meets the current batch before the fault does.
                    await eventually(workload.has_begun, LIMIT_SECONDS)
                    await INJECTORS[fault](injection)
                    await row_lock.release()
                    group.create_task(self.billers.fill_places())
                    await operations
                    await self._settle()
                # The billers' first runs came before the first fault.
                await self._audit(moment if self.survived else self.database.begun_at)
            except BaseException as error:
                error.add_note(f"injection {number}: {fault} {place}, {injection.detail}; {workload}")
                raise
        self.survived[fault] += 1
        seconds = asyncio.get_running_loop().time() - began
        self.log(f"{number:4}  {fault:15} {seconds:5.1f} s  {place}, {injection.detail}; {workload}")

    def report(self) -> str:
        kinds = ", ".join(f"{count} {fault}" for fault, count in sorted(self.survived.items()))
        return f"billing survived {self.survived.total()} faults, seed {self.seed} ({kinds or 'none at all'})"

    def _next_fault(self) -> Fault:
        if not self._pending:
            self._pending = [fault for fault, count in MIX.items() for _ in range(count)]
            Random(f"{self.seed}-{self.survived.total()}-mix").shuffle(self._pending)
        return self._pending.pop()

    def _billable(self) -> list[UUID]:
        return [organization for organization in self.customers.rich if self.customers.existing(organization)]

    async def _settle(self) -> None:
        """Wait until every hour due is decided. Repeat a failed run now, not at the next hour.

        Also repeat a run that left a debt to the next one, because another session was writing the instance.
        """
        loop = asyncio.get_running_loop()
        repeat_at = loop.time() + _DECIDED_SECONDS

        async def settled() -> bool:
            nonlocal repeat_at
            if await self.database.is_settled():
                return True
            failed = await self.database.failed_run()
            if failed is not None and failed > self._repeated:
                self._repeated = failed
                await self.database.end_sessions()
            elif loop.time() > repeat_at:
                repeat_at = loop.time() + _DECIDED_SECONDS
                await self.database.end_sessions()
            return False

        await eventually(settled, LIMIT_SECONDS, pause=0.1)

    async def _audit(self, since: datetime) -> None:
        connection = await self.database.connection()
        # Autovacuum would analyze within a minute, but a round is shorter.
        await connection.execute("analyze vps_billing_cycles, payment_transactions, wallet_ledger_entries")
        damage = [
            *await self.customers.differences(connection, since=since),
            *[str(finding) for finding in await verify(connection)],
            *self.billers.problems(),
        ]
        assert not damage, "\n".join(damage)


@contextlib.asynccontextmanager
async def open_campaign(seed: int, *, log: Callable[[str], None]) -> AsyncIterator[Campaign]:
    """Set up server, fleet and processes. Keep the logs of a failed campaign; the error names their folder."""
    folder = Path(tempfile.mkdtemp(prefix="containerstacks-faults-"))
    async with open_database() as database:
        customers = Customers(Random(seed), database.begun_at)
        await customers.create(await database.connection())
        billers = Billers(database.dsn, folder, Processes(folder))
        campaign = Campaign(seed, database, billers, customers, log)
        try:
            await billers.fill_places()
            yield campaign
            shutil.rmtree(folder)
        except BaseException as error:
            error.add_note(f"{campaign.report()}; logs in {folder}")
            raise
        finally:
            await billers.end_all()
