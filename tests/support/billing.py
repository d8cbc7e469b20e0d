"""Billing in a test: run it as the services do, let time pass, hold locks, and read what it wrote."""

import asyncio
import contextlib
from asyncio import Event
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from containerstacks_shared.billing import credits as billing_credits
from containerstacks_shared.billing.credits import Credit
from containerstacks_shared.billing.documents import Biller, RunTrigger
from containerstacks_shared.billing.run import RunSummary, run_hourly_billing
from containerstacks_shared.billing.verify import Finding, Severity, verify
from containerstacks_shared.core.settings import BillingSettings, load_settings
from containerstacks_shared.database import db
from support import databases, fleet
from support.clock import shift_clock
from support.fleet import Organization, Plan
from support.waiting import session_waiting_for, time_limit

Result = TypeVar("Result")

_OF_THE_CUSTOMER: Final = UUID(int=0)


@dataclass
class Billing:
    """The engine on a test's database. `connection` is the test's own, and is never used by a run.

    In `tests/integration/billing` it has a customer: the fixtures `organization` (100 USD) and `plan` (0.01 an hour).
    """

    dsn: str
    pool: db.Pool
    connection: asyncpg.Connection
    offset: timedelta = field(default=timedelta(0))
    organization: Organization = field(init=False)
    plan: Plan = field(init=False)

    async def run(
        self,
        *,
        biller: Biller = Biller.DAEMON,
        trigger: RunTrigger = RunTrigger.SCHEDULE,
        batch_size: int = 5000,
        concurrency: int = 2,
        stop: Event | None = None,
        lock_timeout: float = 10.0,
    ) -> RunSummary:
        return await run_hourly_billing(
            self.pool,
            listen_dsn=self.dsn,
            biller=biller,
            trigger=trigger,
            settings=load_settings(
                BillingSettings, database_url=self.dsn, batch_size=batch_size, concurrency=concurrency
            ),
            stop=stop,
            lock_timeout=lock_timeout,
        )

    async def add_instance(
        self, organization: Organization | None = None, plan: Plan | str | None = None, **values: Any
    ) -> UUID:
        """Add an instance, of the customer and on its plan unless others are named; `values` are of `fleet`'s."""
        organization = self.organization if organization is None else organization
        plan = self.plan if plan is None else plan
        return await fleet.add_instance(self.connection, organization, plan, **values)

    async def bill_instance(
        self, organization: Organization | None = None, plan: Plan | None = None, *, hours_due: float
    ) -> UUID:
        """Add an instance that owes so many hours, and run."""
        instance = await self.add_instance(organization, plan, hours_due=hours_due)
        await self.run()
        return instance

    async def pass_time(self, duration: timedelta) -> None:
        self.offset += duration
        await shift_clock(self.connection, self.offset, pool=self.pool)

    async def pass_hours(self, hours: float) -> None:
        await self.pass_time(timedelta(hours=hours))

    async def credit(
        self, organization: Organization, amount: str, *, reference: str = "payment-1"
    ) -> Credit:
        return await billing_credits.credit_wallet(
            self.connection,
            organization=str(organization.id),
            amount=Decimal(amount),
            reference=reference,
            author="tests",
        )

    async def verify(self) -> list[Finding]:
        """Audit everything; what another biller left behind is not of interest."""
        return [finding for finding in await verify(self.connection) if finding.severity is Severity.OWN]

    # What is written ------------------------------------------------------------------------

    async def cycles(self, instance: UUID, *, status: str = "billed") -> list[asyncpg.Record]:
        return await self.connection.fetch(
            "select * from vps_billing_cycles where vps_instance_id = $1 and status = $2"
            " order by billing_period_start, id",
            instance,
            status,
        )

    async def hours_billed(self, instance: UUID) -> int:
        hours: int = await self.connection.fetchval(
            "select coalesce(sum((metadata ->> 'hours_charged')::integer), 0)::integer from vps_billing_cycles"
            " where vps_instance_id = $1 and status = 'billed'",
            instance,
        )
        return hours

    async def balance(self, wallet: UUID | None = _OF_THE_CUSTOMER) -> Decimal | None:
        """Return the balance of a wallet; None when there is no wallet."""
        if wallet is _OF_THE_CUSTOMER:
            wallet = self.organization.wallet_id
        balance: Decimal | None = await self.connection.fetchval(
            "select balance from wallets where id = $1", wallet
        )
        return balance

    async def entries(self, wallet: UUID | None) -> list[asyncpg.Record]:
        return await self.connection.fetch(
            "select * from wallet_ledger_entries where wallet_id = $1 order by id", wallet
        )

    async def open_debts(self) -> dict[UUID, asyncpg.Record]:
        rows = await self.connection.fetch(
            "select * from vps_debts where settled_at is null and written_off_at is null"
        )
        return {row["vps_instance_id"]: row for row in rows}

    async def last_run(self) -> asyncpg.Record:
        row = await self.connection.fetchrow("select * from billing_runs order by id desc limit 1")
        assert row is not None
        return row

    async def everything(self) -> dict[str, list[asyncpg.Record]]:
        """Return every row of every table, for a test that expects none of them to change."""
        return await rows_of_all_tables(self.connection)


@contextlib.asynccontextmanager
async def billing_on(dsn: str) -> AsyncIterator[Billing]:
    """Bill a database that is not the test's own."""
    connection = await databases.connect(dsn)
    try:
        async with databases.open_pool(dsn) as pool:
            yield Billing(dsn, pool, connection)
    finally:
        connection.terminate()


async def rows_of_all_tables(connection: asyncpg.Connection) -> dict[str, list[Any]]:
    tables = await connection.fetch(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
    )
    return {
        row["relname"]: await connection.fetch(
            f"select row_to_json(t)::text as row from {row['relname']} t order by 1"
        )
        for row in tables
    }


@contextlib.asynccontextmanager
async def another_session(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Another session, such as the original application's."""
    connection = await databases.connect(dsn, application_name="original")
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def in_the_way(dsn: str, statement: str, *values: object) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that ran `statement` and keeps its locks until the block ends; it is committed then."""
    async with another_session(dsn) as session:
        transaction = session.transaction()
        await transaction.start()
        await session.execute(statement, *values)
        yield session
        await transaction.commit()


@contextlib.asynccontextmanager
async def kept_waiting(
    billing: Billing, work: Coroutine[Any, Any, Result], statement: str, *values: object
) -> AsyncIterator[asyncio.Task[Result]]:
    """Begin `work` while another transaction has run `statement`; the block runs while `work` waits for its locks.

    When the block ends, the transaction commits, and `work` goes on to its end.
    """
    async with (
        time_limit("what had to wait did not end"),
        asyncio.TaskGroup() as group,
        in_the_way(billing.dsn, statement, *values) as obstacle,
    ):
        task = group.create_task(work)
        await session_waiting_for(billing.connection, obstacle.get_server_pid())
        yield task
