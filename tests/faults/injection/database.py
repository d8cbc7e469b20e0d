"""The database of a campaign: its clock, its sessions, the row locks that stop a run, and the rows that runs wrote.

The campaign's own sessions have a distinct application name. Every other session is a biller's, and may be ended.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from containerstacks_shared.billing.forecast import dry_run
from containerstacks_shared.database.db import UNAVAILABLE
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from faults.injection import LIMIT_SECONDS
from support import databases
from support.billing_model import BEGINNING, HOUR
from support.clock import shift_clock
from support.databases import DatabaseServer
from support.waiting import becomes, eventually

OURS = "faults"

# Commits must survive a server that dies, though not a machine that does.
_DURABLE = {"synchronous_commit": "on"}

_END_SESSIONS = f"""
select count(pg_terminate_backend(pid))
  from pg_stat_activity
 where backend_type = 'client backend'
   and application_name <> '{OURS}'
   and backend_start <= $1
"""

_SESSIONS = f"""
select pid
  from pg_stat_activity
 where backend_type = 'client backend'
   and application_name <> '{OURS}'
 order by pid
"""

_OURS_WAITING = f"""
select exists (select from pg_stat_activity where application_name = '{OURS}' and wait_event_type = 'Lock')
"""

# Only the holder of the run lock has an unfinished run, and it is the newest one.
_RUN_BLOCKED_BY = f"""
select r.id, r.holder, r.biller, a.pid
  from pg_stat_activity a
 cross join (select id, holder, biller from billing_runs where status = 'running' order by id desc limit 1) as r
 where $1 = any (pg_blocking_pids(a.pid))
   and a.application_name <> '{OURS}'
"""

# A due instance without an open debt, or an open debt of an instance that is not due.
_UNDECIDED = """
select count(*)
  from (select id, organization_id
          from vps_instances
         where coalesce(last_billed_at, created_at) <= clock_now() - interval '1 hour'
         union all
        select id, organization_id
          from deleted_vps_instances
         where hours_owed > 0
           and written_off_at is null) as due
  full join (select vps_instance_id, organization_id
               from vps_debts
              where settled_at is null
                and written_off_at is null) as debt
         on debt.vps_instance_id = due.id
 where (due.id is null or debt.vps_instance_id is null)
   and coalesce(due.organization_id, debt.organization_id) <> all ($1::uuid[])
"""

_WRITTEN_BY = """
select r.instances_billed, r.hours_billed, r.amount_billed, r.instances_unpaid, r.hours_unpaid,
       (select count(*) from vps_billing_cycles c where c.billing_run_id = r.id) as cycles,
       (select count(*) from wallet_ledger_entries e where e.billing_run_id = r.id) as entries
  from billing_runs r
 where r.id = $1
"""

_FAILED_RUN = """
select max(id)
  from billing_runs
 where status in ('failed', 'interrupted')
   and id > (select coalesce(max(id), 0) from billing_runs where status = 'succeeded' and trigger <> 'top_up')
"""

# Raises the configured error, for one organization, in the middle of a batch.
_SERVER_ERRORS = """
create schema faults;
create table faults.server_errors (relation text not null, organization_id uuid not null, code text not null);
create function faults.raise_server_error() returns trigger language plpgsql as $$
declare
    wanted text;
begin
    select code into wanted
      from faults.server_errors
     where relation = tg_relname
       and organization_id = new.organization_id;
    if found then
        raise exception 'the server was set to fail with %', wanted using errcode = wanted;
    end if;
    return new;
end;
$$;
create trigger faults before insert on vps_billing_cycles
    for each row execute function faults.raise_server_error();
create trigger faults before insert on payment_transactions
    for each row execute function faults.raise_server_error();
create trigger faults before insert on wallet_ledger_entries
    for each row execute function faults.raise_server_error();
create trigger faults before update of last_billed_at on vps_instances
    for each row execute function faults.raise_server_error();
"""
FAILING_RELATIONS = ("vps_billing_cycles", "payment_transactions", "wallet_ledger_entries", "vps_instances")


@dataclass(frozen=True)
class Run:
    """A run that waits in its middle, and its waiting backend."""

    id: int
    holder: str
    biller: str
    backend: int

    @property
    def process_id(self) -> int:
        return int(self.holder.rpartition("-")[2])


@dataclass
class RowLock:
    """A lock on a row that a run needs, held by a session of the campaign."""

    organization: UUID
    session: asyncpg.Connection

    async def release(self) -> None:
        """Release the lock. May be called again, also after the session has died."""
        if not self.session.is_closed():
            with contextlib.suppress(*UNAVAILABLE):
                await self.session.execute("rollback")
        self.session.terminate()

    async def hold(self, session: asyncpg.Connection, statement: str, identifier: object) -> None:
        """Lock another row, and release the previous one."""
        await session.execute("begin")
        await session.execute(statement, identifier)
        await self.release()
        self.session = session


@dataclass
class CampaignDatabase:
    """`begun_at` is the full hour of the campaign, in which no further hour falls due: see `Customers`."""

    postgres: EmbeddedPostgres
    dsn: str
    begun_at: datetime
    hours: int = 0
    _connection: asyncpg.Connection | None = field(default=None, repr=False)

    async def connection(self) -> asyncpg.Connection:
        """Return the campaign's own session, or a new one after the server died."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await self.session()
        return self._connection

    async def session(self) -> asyncpg.Connection:
        return await databases.connect(self.dsn, application_name=OURS, timezone="UTC")

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()

    # Clock, sessions and crashes --------------------------------------------------------------

    async def advance(self, hours: int) -> datetime:
        """Move the clock to a whole number of hours after the beginning, and end the sessions with the old clock."""
        self.hours += hours
        connection = await self.connection()
        moment = self.begun_at + self.hours * HOUR
        await shift_clock(connection, moment - await connection.fetchval("select now()"))
        await self.end_sessions()
        return moment

    async def end_sessions(self) -> None:
        """End every session of the billers; new sessions read the database's current settings."""
        connection = await self.connection()
        moment = await connection.fetchval("select clock_timestamp()")
        await becomes(lambda: connection.fetchval(_END_SESSIONS, moment), 0, LIMIT_SECONDS)

    async def sessions(self) -> list[int]:
        """Return the backends of the billers' sessions."""
        connection = await self.connection()
        return [row["pid"] for row in await connection.fetch(_SESSIONS)]

    async def crash(self) -> None:
        """Kill the server, and start it again on the same data and port."""
        # This blocks the event loop, so the proxies forward no data meanwhile.
        self.postgres.stop("immediate")
        self.postgres.start()
        await self.close()

    # In the middle of a run --------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def row_lock(self, *, organization: UUID, instance: UUID | None = None) -> AsyncIterator[RowLock]:
        """Hold the row of an instance, or the rows of the organization's wallets."""
        row_lock = RowLock(organization, await self.session())
        if instance is not None:
            statement = "select from vps_instances where id = $1 for update"
        else:
            statement = "select from wallets where organization_id = $1 for update"
        try:
            await row_lock.session.execute("begin")
            await row_lock.session.execute(statement, instance or organization)
            yield row_lock
        finally:
            await row_lock.release()

    async def run_blocked_by(self, row_lock: RowLock, *, biller: str | None = None) -> Run:
        connection, pid = await self.connection(), row_lock.session.get_server_pid()

        async def blocked() -> Run | None:
            row = await connection.fetchrow(_RUN_BLOCKED_BY, pid)
            if row is None or (biller is not None and row["biller"] != biller):
                return None
            return Run(row["id"], row["holder"], row["biller"], row["pid"])

        return await eventually(blocked, LIMIT_SECONDS)

    async def delay_commit(self, run: Run, row_lock: RowLock) -> None:
        """Move the lock to the end of the batch: the run then waits after its writes, before its commit."""
        await row_lock.hold(await self.session(), "select from billing_runs where id = $1 for update", run.id)
        await self.run_blocked_by(row_lock)

    async def is_waiting(self) -> bool:
        """Whether a session of the campaign waits for another session's lock."""
        connection = await self.connection()
        return bool(await connection.fetchval(_OURS_WAITING))

    async def successor_of(self, run: Run) -> int:
        """Wait until another process has begun a run, and return its id."""
        connection = await self.connection()
        query = "select max(id) from billing_runs where id > $1 and holder <> $2"
        return await eventually(lambda: connection.fetchval(query, run.id, run.holder), LIMIT_SECONDS)

    async def written_by(self, run: Run) -> asyncpg.Record:
        connection = await self.connection()
        row = await connection.fetchrow(_WRITTEN_BY, run.id)
        assert row is not None
        return row

    async def fail_in(self, organization: UUID, *, relation: str, code: str) -> None:
        """Make the server raise this error whenever the organization is charged."""
        connection = await self.connection()
        await connection.execute(
            "insert into faults.server_errors values ($1, $2, $3)", relation, organization, code
        )

    async def stop_failing(self) -> None:
        connection = await self.connection()
        await connection.execute("delete from faults.server_errors")

    # After it ----------------------------------------------------------------------------------

    async def is_settled(self, *, except_for: tuple[UUID, ...] = ()) -> bool:
        """Whether every hour due is paid, or recorded as a debt that its wallet does not cover."""
        connection = await self.connection()
        if await connection.fetchval(_UNDECIDED, list(except_for)):
            return False
        return not any(
            forecast.hours_payable
            for forecast in await dry_run(connection)
            if forecast.organization_id not in except_for
        )

    async def failed_run(self) -> int | None:
        """Return the newest failed run that no later successful run for all organizations followed."""
        connection = await self.connection()
        failed: int | None = await connection.fetchval(_FAILED_RUN)
        return failed

    async def run_with(self, identifier: int) -> asyncpg.Record:
        connection = await self.connection()
        row = await connection.fetchrow("select * from billing_runs where id = $1", identifier)
        assert row is not None
        return row


@contextlib.contextmanager
def _server() -> Iterator[EmbeddedPostgres]:
    with databases.embedded_postgres(settings=_DURABLE) as postgres:
        postgres.start()
        yield postgres


@contextlib.asynccontextmanager
async def open_database() -> AsyncIterator[CampaignDatabase]:
    """Open a migrated database on a separate server."""
    with _server() as postgres:
        dsn = DatabaseServer(postgres.dsn()).create("faults")
        migrate(dsn)
        database = CampaignDatabase(postgres, dsn, begun_at=BEGINNING)
        connection = await database.connection()
        await connection.execute(_SERVER_ERRORS)
        database.begun_at = await connection.fetchval("select now()") - timedelta(minutes=1)
        try:
            yield database
        finally:
            await database.close()
