"""Phases of disorder: everybody writes, several bill, packets and processes stop; then silence, and an audit."""

import asyncio
import contextlib
import os
import signal
from asyncio import Event
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import asyncpg

from containerstacks_shared.billing import explanations
from containerstacks_shared.billing.documents import Biller, RunTrigger
from containerstacks_shared.billing.run import run_hourly_billing
from containerstacks_shared.billing.verify import Severity, verify
from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.settings import BillingSettings, load_settings
from containerstacks_shared.database import db
from containerstacks_shared.schema import migrate
from support import fleet
from support.clock import shift_clock
from support.dark_proxy import DarkProxy, dark_proxy
from support.databases import DatabaseServer, connect, embedded_postgres

from .deeds import Deeds
from .facts import differences

WRITERS = 6
BILLERS = 3
DEEDS = 40
ORGANIZATIONS = 20
INSTANCES_PER_ORGANIZATION = 10
PLANS = 6
# What a biller may meet in all this, and leaves to its next run.
_AWAY: tuple[type[Exception], ...] = (ContainerStacksError, asyncpg.PostgresError, *db.UNAVAILABLE)
_STRUCK_SECONDS = (0.2, 1.5)
_BACKENDS = """
select pid from pg_stat_activity
 where datname = current_database() and application_name like 'containerstacks-%' and pid <> pg_backend_pid()
"""


@dataclass
class Campaign:
    """`seed` decides what everybody does; the order of what they do is chance."""

    seed: int
    dsn: str
    connection: asyncpg.Connection
    proxy: DarkProxy
    tell: Callable[[str], None]
    hours: int = 0
    phases: int = 0
    done: dict[str, int] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)

    async def phase(self) -> None:
        """Raises `AssertionError` when a cent or an hour went astray, with the seed and the phase."""
        self.phases += 1
        random = Random(f"{self.seed}-{self.phases}")
        try:
            await self._pass_hours(random.randint(1, 4))
            await self._disorder(random)
            await self._silence()
        except BaseException as error:
            error.add_note(f"seed {self.seed}, phase {self.phases}: {self.report()}")
            raise
        self.tell(f"phase {self.phases:3}: {self.report()}")

    def report(self) -> str:
        written = sum(count for kind, count in self.done.items() if not kind.endswith("refused"))
        return (
            f"seed {self.seed}, {self.phases} phases, {self.hours} hours, {written} of {sum(self.done.values())} deeds"
            f" done, runs {dict(sorted(self.runs.items()))}, strikes {dict(sorted(self.struck.items()))}"
        )

    async def _pass_hours(self, hours: int) -> None:
        self.hours += hours
        await shift_clock(self.connection, timedelta(hours=self.hours))

    async def _disorder(self, random: Random) -> None:
        stop = Event()
        async with asyncio.TaskGroup() as group:
            billers = [group.create_task(self._bill(stop, Random(random.random()))) for _ in range(BILLERS)]
            striker = group.create_task(self._strike(stop, Random(random.random())))
            async with asyncio.TaskGroup() as writers:
                for _ in range(WRITERS):
                    writers.create_task(self._write(Random(random.random())))
            stop.set()
            await asyncio.wait([*billers, striker])

    async def _write(self, random: Random) -> None:
        connection = await connect(self.dsn, application_name="writer")
        try:
            deeds = Deeds(connection, random, self.done)
            for _ in range(DEEDS):
                await deeds.do_something()
        finally:
            await connection.close()

    async def _bill(self, stop: Event, random: Random) -> None:
        biller = random.choice(list(Biller))
        dsn = random.choice((self.dsn, self.proxy.dsn))
        while not stop.is_set():
            try:
                pool = await db.create_pool(dsn, service=f"billing-{biller.value}")
            except _AWAY:
                continue
            try:
                summary = await self._run(pool, dsn, biller, stop)
                outcome = summary
            except _AWAY as error:
                outcome = type(error).__name__
            finally:
                with contextlib.suppress(*db.UNAVAILABLE):
                    async with asyncio.timeout(5):
                        await pool.close()
            self.runs[outcome] = self.runs.get(outcome, 0) + 1

    async def _run(self, pool: db.Pool, dsn: str, biller: Biller, stop: Event) -> str:
        settings = load_settings(BillingSettings, database_url=dsn, batch_size=50, concurrency=2)
        summary = await run_hourly_billing(
            pool,
            listen_dsn=dsn,
            biller=biller,
            trigger=RunTrigger.SCHEDULE,
            settings=settings,
            stop=stop,
            lock_timeout=5.0,
        )
        return summary.status.value

    async def _strike(self, stop: Event, random: Random) -> None:
        connection = await connect(self.dsn, application_name="writer")
        try:
            while not stop.is_set():
                kind = random.choice(("dark", "cut", "stopped backend", "ended backend", "nothing"))
                backends = [row["pid"] for row in await connection.fetch(_BACKENDS)]
                victim = random.choice(backends) if backends else None
                self._begin(kind, victim)
                try:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), random.uniform(*_STRUCK_SECONDS))
                finally:
                    self._end(kind, victim)
                self.struck[kind] = self.struck.get(kind, 0) + 1
        finally:
            await connection.close()

    def _begin(self, kind: str, victim: int | None) -> None:
        match kind:
            case "dark":
                self.proxy.go_dark()
            case "cut":
                self.proxy.cut()
            case "stopped backend" | "ended backend" if victim is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGSTOP if kind == "stopped backend" else signal.SIGTERM)
            case _:
                pass

    def _end(self, kind: str, victim: int | None) -> None:
        self.proxy.go_light()
        if kind == "stopped backend" and victim is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGCONT)

    async def _silence(self) -> None:
        """Bill what is due with nobody in the way, twice, and audit."""
        pool = await db.create_pool(self.dsn, service="billing-daemon")
        try:
            for _ in range(2):
                status = await self._run(pool, self.dsn, Biller.DAEMON, Event())
                assert status == "succeeded", await self.connection.fetchrow(
                    "select * from billing_runs order by id desc limit 1"
                )
        finally:
            await pool.close()
        await explanations.explain(self.connection, None, reason="the campaign's own", author="campaign")
        await self.connection.execute("analyze")
        found = [
            str(finding) for finding in await verify(self.connection) if finding.severity is Severity.OWN
        ]
        found += await differences(self.connection)
        assert not found, "\n".join(found[:10])


@contextlib.asynccontextmanager
async def open_campaign(seed: int, *, tell: Callable[[str], None]) -> AsyncIterator[Campaign]:
    # A server of its own: one that has a stopped session keeps everybody waiting.
    with _server() as server:
        dsn = server.create("disorder")
        await asyncio.to_thread(migrate, dsn)
        connection = await connect(dsn, application_name="writer")
        try:
            await _settle_in(connection, Random(seed))
            async with dark_proxy(dsn) as proxy:
                yield Campaign(seed, dsn, connection, proxy, tell)
        finally:
            await connection.close()


@contextlib.contextmanager
def _server() -> Iterator[DatabaseServer]:
    existing = os.environ.get("SOAK_DATABASE_SERVER")
    if existing:
        yield DatabaseServer(existing)
        return
    with embedded_postgres() as postgres:
        yield DatabaseServer(postgres.start())


async def _settle_in(connection: asyncpg.Connection, random: Random) -> None:
    await connection.execute("select setseed($1)", random.random())
    plans = [
        await fleet.add_plan(connection, base_price=str(5 + number), markup_price="0")
        for number in range(PLANS)
    ]
    for number in range(ORGANIZATIONS):
        balance = None if number == 0 else str(random.randint(0, 3))
        organization = await fleet.add_organization(connection, balance=balance)
        for _ in range(INSTANCES_PER_ORGANIZATION):
            await fleet.add_instance(
                connection, organization, random.choice(plans), hours_due=random.randint(0, 5)
            )
