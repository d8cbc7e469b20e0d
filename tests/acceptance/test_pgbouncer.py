"""Everything through a real PgBouncer in transaction mode, with the settings that are shipped."""

import json

import asyncpg
import pytest

from support import charges
from support.live_page import open_page
from support.packages import needs
from support.pgbouncer import pgbouncer
from support.processes import Processes
from support.waiting import becomes, eventually

# Of each role; fewer than its processes would open, so that transactions of both web processes follow each other on one
# session.
POOL_SIZE = 3


@needs("pgbouncer")
@pytest.mark.timeout(180)
async def test_all_services_and_commands_work_through_it(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=4, instances=4, hours=2)
    async with pgbouncer(database_url, pool_size=POOL_SIZE) as pooled:
        direct = {"DATABASE_LISTEN_URL": database_url}
        web = await processes.start_web(pooled, **direct)
        await processes.start_web(pooled, **direct)
        await processes.start_stats_aggregator(pooled, **direct)
        daemon = await processes.start_billing_daemon(pooled, **direct, BILLING_BATCH_INSTANCES="4")
        async with open_page(web) as page:
            await page.next_with(running=16)
            for instance in due.expected:
                await connection.execute(
                    "update vps_instances set status = 'stopped' where id = $1", instance
                )
            await page.next_with(stopped=16)
        await becomes(lambda: charges.hours_billed(connection), due.expected)
        await eventually(lambda: folded(connection))

        async def run(*command: str) -> str:
            return await processes.succeed(*command, database_url=pooled, **direct)

        organization = str(due.organizations[0].id)
        await run("containerstacks", "migrate")
        await run("containerstacks-billing-daemon", "once")
        await run("containerstacks-billing-daemon", "status")
        await run(
            *("containerstacks", "wallet", "credit", "--organization", organization),
            *("--amount", "5.00", "--reference", "payment-1"),
        )
        month = await connection.fetchval("select to_char(now() at time zone 'UTC', 'YYYY-MM')")
        statement = await run(
            *("containerstacks", "billing", "statement", "--organization", organization),
            *("--month", month, "--format", "json"),
        )
        assert json.loads(statement)
        await run("containerstacks", "verify", "--full")
        assert await web.get_json("/api/health/platform-stats")
        assert await daemon.terminate() == 0, daemon.log
        # Nothing was prepared under a name, set for a session or left locked on sessions that others use next.
        assert '"level": "error"' not in web.log + daemon.log


@needs("pgbouncer")
async def test_an_empty_database_is_migrated_past_it(empty_database_url: str, processes: Processes) -> None:
    async with pgbouncer(empty_database_url) as pooled:
        await processes.succeed(
            "containerstacks", "migrate", database_url=pooled, DATABASE_LISTEN_URL=empty_database_url
        )
    await processes.find_no_damage(empty_database_url)


@needs("pgbouncer")
async def test_without_a_direct_connection_the_error_names_the_setting(
    database_url: str, processes: Processes
) -> None:
    async with pgbouncer(database_url) as pooled:
        for command in ("containerstacks-web", "containerstacks-billing-daemon"):
            service = await processes.launch(command, pooled)
            assert await service.exited() == 1
            lines = [line for line in service.log.splitlines() if not line.startswith("{")]
            assert len(lines) == 1, service.log
            assert "set DATABASE_LISTEN_URL" in lines[0]


async def folded(connection: asyncpg.Connection) -> bool:
    pending: int = await connection.fetchval("select count(*) from count_deltas")
    return pending == 0
