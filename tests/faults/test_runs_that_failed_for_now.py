"""A run whose backend stands still, or is ended, is made again within a minute, and not an interval later."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM

import asyncpg
import pytest

from containerstacks_shared.billing.verify import Severity, verify
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from support import charges, databases, roles
from support.billers import KINDS, biller
from support.billing import in_the_way
from support.waiting import LIMIT_SECONDS, eventually, session_waiting_for

# Statements are given up after half a minute.
GIVEN_UP_SECONDS = 30.0 + LIMIT_SECONDS
RUNS = "select status, trigger, error_message, started_at, finished_at from billing_runs order by id"


@pytest.fixture
async def connection(own_postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """Give a session on a server of its own: whoever shared one with a stopped backend would wait for it."""
    await asyncio.to_thread(migrate, own_postgres.dsn())
    roles.grant(own_postgres.dsn())
    connection = await databases.connect(own_postgres.dsn())
    yield connection
    await connection.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blow", [SIGSTOP, SIGTERM], ids=["frozen", "ended"])
async def test_a_run_that_lost_its_backend_is_made_again_within_a_minute(
    own_postgres: EmbeddedPostgres,
    connection: asyncpg.Connection,
    tmp_path: Path,
    kind: str,
    blow: int,
) -> None:
    dsn = own_postgres.dsn()
    due = await charges.add_due_fleet(connection, organizations=3, instances=2, hours=2)
    last = due.instances[due.organizations[-1].id][0]
    async with biller(kind, dsn, tmp_path):
        # It begins a run at once, and meets us in its middle.
        async with in_the_way(dsn, "select from vps_instances where id = $1 for update", last) as holder:
            victim = await session_waiting_for(connection, holder.get_server_pid())
            os.kill(victim, blow)
        if blow == SIGSTOP:
            await eventually(ended(connection, "failed"), GIVEN_UP_SECONDS, pause=0.2)
            os.kill(victim, SIGCONT)
        await eventually(ended(connection, "succeeded"), pause=0.1)
    first, *_, again = await connection.fetch(RUNS)
    assert first["status"] == "failed"
    assert again["started_at"] - first["finished_at"] < timedelta(minutes=1)
    assert await charges.hours_billed(connection) == due.expected
    assert [each for each in await verify(connection) if each.severity is Severity.OWN] == []


def ended(connection: asyncpg.Connection, status: str) -> Callable[[], object]:
    async def asked() -> bool:
        return bool(await connection.fetchval("select count(*) from billing_runs where status = $1", status))

    return asked
