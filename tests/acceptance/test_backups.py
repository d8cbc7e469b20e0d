"""A backup is taken while everything runs, the server is lost, and everything goes on from what was restored.

What was charged after the backup is lost with the server, whole; the restored database still holds those hours as due,
and they are billed there once. With an archive of the log nothing that was archived is lost.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from support import charges, fleet, roles
from support.backups import ArchivedBaseBackup, Backup, BaseBackup, Dump, backup_folder
from support.charges import DueFleet
from support.databases import DatabaseServer, embedded_postgres
from support.live_page import open_page
from support.processes import Processes
from support.waiting import becomes, eventually, session_waiting_for

ONE_ORGANIZATION = {"BILLING_BATCH_INSTANCES": "4", "BILLING_CONCURRENCY": "1"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with backup_folder() as folder:
        yield folder


@pytest.fixture(params=[Dump, BaseBackup, ArchivedBaseBackup])
def backup(request: pytest.FixtureRequest, folder: Path) -> Backup:
    made: Backup = request.param(folder)
    return made


@pytest.mark.timeout(240)
async def test_services_continue_from_a_restored_backup_and_bill_each_hour_once(
    backup: Backup, processes: Processes
) -> None:
    with embedded_postgres(backup.settings) as server:
        lost = DatabaseServer(server.start()).create("backup")
        migrate(lost)
        roles.grant(lost)
        due = await live_through_a_backup(server, lost, backup, processes)
        with backup.restored(lost) as restored:
            server.stop("immediate")
            connection = await asyncpg.connect(restored)
            await eventually(lambda: connection.fetchval("select not pg_is_in_recovery()"))
            if isinstance(backup, ArchivedBaseBackup):
                assert await charges.hours_billed(connection) == due.expected
            else:
                assert 0 < len(await charges.hours_billed(connection)) < len(due.expected)
            await goes_on(connection, restored, due, processes)
            await connection.close()


async def live_through_a_backup(
    server: EmbeddedPostgres, dsn: str, backup: Backup, processes: Processes
) -> DueFleet:
    """Let the services work, take the backup in the middle of a run, and finish that run after it."""
    connection = await asyncpg.connect(dsn)
    due = await charges.add_due_fleet(connection, organizations=6)
    async with statuses_change(dsn):
        # Locked before billing can begin: where the daemon is slow to start, web begins the run.
        async with charges.wallet_locked(dsn, due.organizations[3]) as holder:
            services = [
                await processes.start_web(dsn, **ONE_ORGANIZATION),
                await processes.start_stats_aggregator(dsn),
                await processes.start_billing_daemon(dsn, **ONE_ORGANIZATION),
            ]
            await session_waiting_for(connection, holder)
            await credit(processes, dsn, due, "before the backup")
            await asyncio.to_thread(backup.take, server, dsn)
        await becomes(lambda: charges.hours_billed(connection), due.expected)
        await credit(processes, dsn, due, "after the backup")
    if isinstance(backup, ArchivedBaseBackup):
        segment = await connection.fetchval("select pg_walfile_name(pg_switch_wal())")
        archived = "select last_archived_wal >= $1 from pg_stat_archiver"
        await eventually(lambda: connection.fetchval(archived, segment))
    for service in services:
        assert await service.terminate() == 0, service.log
    await connection.close()
    return due


async def goes_on(connection: asyncpg.Connection, dsn: str, due: DueFleet, processes: Processes) -> None:
    assert await connection.fetchval("select sum(amount) from vps_counts_now") == len(due.expected)
    recounted = "select status, count(*) as amount from vps_instances group by status"
    counted = "select status, sum(amount)::bigint as amount from vps_counts_now group by status"
    assert set(await connection.fetch(recounted)) == set(await connection.fetch(counted))
    for change in ("update wallet_ledger_entries set amount = 0", "truncate wallet_ledger_entries"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await connection.execute(change)
    await processes.find_no_damage(dsn)

    # Payments are given again, all of them: those that the backup holds are credited no second time.
    await credit(processes, dsn, due, "before the backup")
    await credit(processes, dsn, due, "after the backup")
    web = await processes.start_web(dsn)
    await processes.start_stats_aggregator(dsn)
    await processes.start_billing_daemon(dsn)
    await becomes(lambda: charges.hours_billed(connection), due.expected)
    spent = charges.RATE * due.hours * len(due.instances[due.organizations[0].id])
    balance = await fleet.balance_of(connection, due.organizations[0])
    assert balance == 100 + 2 * Decimal("5.00") - spent
    async with open_page(web) as page:
        await connection.execute("update vps_instances set status = 'stopped'")
        await page.next_with(stopped=len(due.expected))
    await processes.find_no_damage(dsn)


@contextlib.asynccontextmanager
async def statuses_change(dsn: str) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def change() -> None:
        connection = await asyncpg.connect(dsn)
        for status in itertools.cycle(("running", "stopped", "error")):
            await connection.execute(
                "update vps_instances set status = $1"
                " where id = (select id from vps_instances order by random() limit 1)",
                status,
            )
            if await wait_for_event(stop, 0.02):
                break
        await connection.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        try:
            yield
        finally:
            stop.set()


async def credit(processes: Processes, dsn: str, due: DueFleet, reference: str) -> None:
    await processes.succeed(
        *("containerstacks", "wallet", "credit", "--organization", str(due.organizations[0].id)),
        *("--amount", "5.00", "--reference", reference),
        database_url=dsn,
    )
