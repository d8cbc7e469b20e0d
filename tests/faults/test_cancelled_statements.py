"""Statements that fail: somebody cancels them, as an operator or a deadlock does. The next one may succeed."""

import asyncio
from collections import Counter

import aiohttp
import asyncpg
import pytest

from containerstacks_shared.database.locks import Role, is_held
from containerstacks_shared.database.notify import Channel
from containerstacks_shared.demo.seeding import seed
from containerstacks_shared.demo.simulation import simulate
from containerstacks_shared.process.runtime import Job
from support import web_site
from support.billing import another_session
from support.jobs import running
from support.processes import Processes, Service
from support.waiting import eventually, session_waiting_for

# Who bills: web itself in the first set of services.
SERVICES = {
    "web alone": ["containerstacks-web"],
    "all three": [
        "containerstacks-web",
        "containerstacks-billing-daemon",
        "containerstacks-stats-aggregator",
    ],
}
CANCELLATIONS = 30
EVERY_TABLE = """
select string_agg(format('%I', relname), ', ')
  from pg_class
 where relnamespace = 'public'::regnamespace
   and relkind = 'r'
"""
# Found first and all_cancelled then: a condition of one query might be looked at in any order.
CANCEL = """
with waiting as materialized (
    select pid, application_name
      from pg_stat_activity
     where datname = current_database()
       and wait_event_type = 'Lock'
       and pid not in ($1, pg_backend_pid())
)
select application_name
  from waiting
 where pg_cancel_backend(pid)
"""


@pytest.mark.parametrize("commands", SERVICES.values(), ids=SERVICES)
async def test_cancelled_statements_end_no_service(
    database_url: str, connection: asyncpg.Connection, processes: Processes, commands: list[str]
) -> None:
    services = [await processes.launch(command, database_url) for command in commands]
    for service in services:
        await service.ready()
    key = await web_site.add_api_key(connection, role="admin")
    if len(commands) == 1:
        await eventually(lambda: is_held(connection, Role.BUILTIN_BILLING))
    cancelled: Counter[str] = Counter()
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": key}) as browser,
        browser.ws_connect(f"{services[0].url}/ws/status?topics=details"),
        another_session(database_url) as holder,
        another_session(database_url) as canceller,
    ):

        async def cancel() -> None:
            cancelled.update(row[0] for row in await canceller.fetch(CANCEL, holder.get_server_pid()))

        async def all_cancelled() -> bool:
            for channel in Channel:
                await canceller.execute("select pg_notify($1, '')", channel)
            await cancel()
            for service in services:
                assert_runs(service)
            return all(cancelled[command] >= CANCELLATIONS for command in commands)

        async with holder.transaction():
            tables = await holder.fetchval(EVERY_TABLE)
            # A session that holds one of them and waits for another is cancelled before that is a deadlock.
            locking = asyncio.create_task(holder.execute(f"lock table {tables} in access exclusive mode"))
            await eventually(all_cancelled, pause=0.05)
            await locking
    for service in services:
        await service.ready()
        assert await service.terminate() == 0, service.log


def assert_runs(service: Service) -> None:
    if not service.running:
        # Not an AssertionError, which waiting would take for "not yet".
        raise RuntimeError(service.log)


async def test_the_demo_survives_a_cancelled_statement(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await seed(connection, instances=20)

    async with (
        running(Job("demo", lambda stop: simulate(database_url, rate=100, stop=stop))),
        another_session(database_url) as holder,
    ):
        for _ in range(2):
            async with holder.transaction():
                await holder.execute("lock table vps_instances in access exclusive mode")
                waiting = await session_waiting_for(connection, holder.get_server_pid())
                assert await connection.fetchval("select pg_cancel_backend($1)", waiting)
