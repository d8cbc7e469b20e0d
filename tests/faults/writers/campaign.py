"""Phases: writers and billers run while faults stop packets and processes. After the faults end, an audit follows."""

import asyncio
import contextlib
import os
from asyncio import Event
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import asyncpg
import psycopg

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
from support.waiting import LIMIT_SECONDS, eventually

from .injector import FaultInjector, Mode, Restart, restart_found
from .oracle import differences
from .services import Services, running_services
from .workload import Writer

WRITERS = 6
BILLERS = 3
OPERATIONS = 40
ORGANIZATIONS = 20
INSTANCES_PER_ORGANIZATION = 10
PLANS = 6
# Errors that a biller may meet under faults; its next run bills what is left.
_AWAY: tuple[type[Exception], ...] = (ContainerStacksError, asyncpg.PostgresError, *db.UNAVAILABLE)
# A restart must not lose a confirmed commit.
_DURABLE = {"synchronous_commit": "on"}
_END_SERVICES = """
select pg_terminate_backend(pid) from pg_stat_activity
 where datname = current_database() and application_name like 'containerstacks-%'
"""


@dataclass
class Campaign:
    """`seed` decides all operations and faults; only their order varies."""

    seed: int
    dsn: str
    proxy: DarkProxy
    services: Services
    restart: Restart
    log: Callable[[str], None]
    hours: int = 0
    phases: int = 0
    done: dict[str, int] = field(default_factory=dict)
    injected: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)

    async def phase(self) -> None:
        """Run one phase. Raises `AssertionError`, with seed and phase, when an amount or an hour is wrong."""
        self.phases += 1
        random = Random(f"{self.seed}-{self.phases}")
        try:
            await self._pass_hours(random.randint(1, 4))
            await self._write_under_faults(random)
            await self._settle_and_audit()
        except BaseException as error:
            error.add_note(f"seed {self.seed}, phase {self.phases}: {self.report()}")
            raise
        self.log(f"phase {self.phases:3}: {self.report()}")

    def report(self) -> str:
        written = sum(count for outcome, count in self.done.items() if not outcome.endswith("refused"))
        return (
            f"seed {self.seed}, {self.phases} phases, {self.hours} hours, {written} of {sum(self.done.values())}"
            f" operations done, runs {dict(sorted(self.runs.items()))}, faults {dict(sorted(self.injected.items()))}"
        )

    async def _pass_hours(self, hours: int) -> None:
        self.hours += hours
        async with self._session() as connection:
            await shift_clock(connection, timedelta(hours=self.hours))
            # New sessions of the services read the new setting.
            await connection.execute(_END_SERVICES)

    async def _write_under_faults(self, random: Random) -> None:
        stop = Event()
        async with asyncio.TaskGroup() as group:
            billers = [group.create_task(self._bill(stop, Random(random.random()))) for _ in range(BILLERS)]
            injecting = group.create_task(self._inject_until(stop, Random(random.random())))
            async with asyncio.TaskGroup() as writers:
                for _ in range(WRITERS):
                    writers.create_task(self._write(Random(random.random())))
            stop.set()
            await asyncio.wait([*billers, injecting])

    async def _write(self, random: Random) -> None:
        left = OPERATIONS
        while left:
            async with self._session() as connection:
                writer = Writer(connection, random, self.done)
                with contextlib.suppress(*db.UNAVAILABLE):
                    while left:
                        # An operation that lost its session is not retried.
                        left -= 1
                        await writer.write_something()

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect as a writer, as soon as the server accepts connections."""

        async def connected() -> asyncpg.Connection | None:
            try:
                return await connect(self.dsn, application_name="writer")
            except db.UNAVAILABLE:
                return None

        connection = await eventually(connected)
        try:
            yield connection
        finally:
            connection.terminate()

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

    async def _run(
        self, pool: db.Pool, dsn: str, biller: Biller, stop: Event, *, lock_timeout: float = 5.0
    ) -> str:
        settings = load_settings(BillingSettings, database_url=dsn, batch_size=50, concurrency=2)
        summary = await run_hourly_billing(
            pool,
            listen_dsn=dsn,
            biller=biller,
            trigger=RunTrigger.SCHEDULE,
            settings=settings,
            stop=stop,
            lock_timeout=lock_timeout,
        )
        return summary.status.value

    async def _inject_until(self, stop: Event, random: Random) -> None:
        injector = FaultInjector(self.proxy, self.restart, self.services.all, self.injected)
        while not stop.is_set():
            async with self._session() as connection:
                with contextlib.suppress(*db.UNAVAILABLE):
                    while not stop.is_set():
                        await injector.inject(stop, connection, random)

    async def _settle_and_audit(self) -> None:
        """Bill twice without faults, audit, and compare the page with the rows."""
        pool = await db.create_pool(self.dsn, service="billing-daemon")
        try:
            for _ in range(2):
                status = await self._run(pool, self.dsn, Biller.DAEMON, Event(), lock_timeout=LIMIT_SECONDS)
                assert status == "succeeded", await pool.fetchrow(
                    "select * from billing_runs order by id desc limit 1"
                )
        finally:
            await pool.close()
        async with self._session() as connection:
            await explanations.explain(connection, None, reason="the campaign's own", author="campaign")
            await connection.execute("analyze")
            found = [str(finding) for finding in await verify(connection) if finding.severity is Severity.OWN]
            found += await differences(connection)
            assert not found, "\n".join(found[:10])
            await self.services.check_counts(connection)


@contextlib.asynccontextmanager
async def open_campaign(seed: int, *, log: Callable[[str], None]) -> AsyncIterator[Campaign]:
    async with contextlib.AsyncExitStack() as stack:
        # A separate server: a frozen session blocks every other session.
        server, restart = stack.enter_context(_server())
        dsn = server.create("concurrent_writes")
        await asyncio.to_thread(migrate, dsn)
        connection = await connect(dsn, application_name="writer")
        try:
            await _create_fleet(connection, Random(seed))
        finally:
            await connection.close()
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="containerstacks-")))
        services = await stack.enter_async_context(running_services(folder, dsn))
        proxy = await stack.enter_async_context(dark_proxy(dsn))
        yield Campaign(seed, dsn, proxy, services, restart, log)


@contextlib.contextmanager
def _server() -> Iterator[tuple[DatabaseServer, Restart]]:
    existing = os.environ.get("SOAK_DATABASE_SERVER")
    if existing:
        with psycopg.connect(existing) as connection:
            row = connection.execute("show data_directory").fetchone()
        assert row is not None
        yield DatabaseServer(existing), partial(restart_found, Path(row[0]))
        return
    with embedded_postgres(_DURABLE) as postgres:

        def restart(mode: Mode) -> None:
            postgres.stop(mode)
            postgres.start()

        yield DatabaseServer(postgres.start()), restart


async def _create_fleet(connection: asyncpg.Connection, random: Random) -> None:
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
