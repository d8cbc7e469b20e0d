"""The built-in biller: it steps in when no daemon is alive, steps back when one is, and keeps the schedule.

The daemon here is its lock and its heartbeat, held by the test: what it is to everybody else.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from containerstacks_shared.billing import charging_loop
from containerstacks_shared.billing.documents import Biller
from containerstacks_shared.billing.heartbeat import Heartbeat
from containerstacks_shared.database.db import Connection, Pool
from containerstacks_shared.database.locks import Leadership, Role, is_held
from containerstacks_shared.process.runtime import Job
from containerstacks_web import builtin_billing
from containerstacks_web.database import POOL
from support import charges, promises
from support.clock import shift_clock
from support.jobs import running
from support.waiting import becomes, eventually, looks_by
from support.web_site import Site, open_site

HOUR = timedelta(hours=1)


@contextlib.asynccontextmanager
async def daemon_alive(dsn: str, pool: Pool) -> AsyncIterator[None]:
    async with Leadership(dsn, Role.BILLING_DAEMON, service="tests") as leadership:
        term = await leadership.try_acquire()
        assert term is not None
        heartbeat = Heartbeat(pool, Biller.DAEMON, term, interval=HOUR)
        await heartbeat.register()
        try:
            async with running(Job("beating", heartbeat.beat_until)):
                yield
        finally:
            await leadership.release()
            await heartbeat.deregister()


async def daemon_status(site: Site) -> dict[str, Any]:
    document = await site.json("/api/health/billing-daemon")
    return dict(document["daemon"])


async def bills(site: Site, biller: str) -> bool:
    return bool((await daemon_status(site))["activeBiller"] == biller)


async def heartbeats(connection: Connection) -> int:
    count: int = await connection.fetchval("select count(heartbeat_at) from billing_daemon_status")
    return count


async def test_without_a_daemon_it_bills_at_once_and_is_shown(
    database_url: str, connection: Connection
) -> None:
    due = await charges.add_due_fleet(connection)
    async with open_site(database_url, without=()) as site:
        await becomes(lambda: charges.hours_billed(connection), due.expected)
        await eventually(lambda: bills(site, "builtin"))

        async def is_shown() -> bool:
            status = await daemon_status(site)
            return (status["lastRunBy"], status["lastRunSuccess"]) == ("builtin", True)

        await eventually(is_shown)
        status = await daemon_status(site)
        assert status["status"] == "unknown"
        assert status["isStale"] is True
        assert status["instancesBilled"] == len(due.expected)
        assert await heartbeats(connection) == 1
        assert await charges.runs(connection) == [("builtin", "start", "succeeded")]
        # What an original application on the same database reads.
        (row,) = await connection.fetch("select * from billing_daemon_status")
        assert (row["status"], row["last_run_success"], row["instances_billed"]) == (
            "running",
            True,
            len(due.expected),
        )
    # None of our billers is left: the original application may bill again.
    assert await heartbeats(connection) == 0


async def test_it_pauses_for_the_daemon_and_takes_over_again(
    database_url: str, connection: Connection, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = looks_by(monkeypatch, builtin_billing, "is_daemon_alive")
    async with open_site(database_url, without=()) as site:
        await eventually(lambda: bills(site, "builtin"))
        async with daemon_alive(database_url, pool):

            async def steps_back() -> bool:
                assert await bills(site, "daemon")
                return not await is_held(connection, Role.BUILTIN_BILLING)

            await eventually(steps_back)
            due = await charges.add_due_fleet(connection, organizations=1)
            # A biller that were not paused would bill at the first.
            await looks.more(2)
            assert await charges.hours_billed(connection) == {}
        # The daemon left its last beat standing: somebody is there to take over.
        assert await heartbeats(connection) > 0
        await becomes(lambda: charges.hours_billed(connection), due.expected, promises.SUCCEEDED_SECONDS)
        await eventually(lambda: bills(site, "builtin"))


async def test_a_web_process_that_stops_leaves_the_daemon_beating(
    database_url: str, connection: Connection, pool: Pool
) -> None:
    async with daemon_alive(database_url, pool):
        async with open_site(database_url, without=()) as site:
            await eventually(lambda: bills(site, "daemon"))
        assert await heartbeats(connection) == 1
    assert await heartbeats(connection) == 0


async def test_of_two_web_processes_one_bills_and_the_other_succeeds_it(
    database_url: str, connection: Connection
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_site(database_url, without=()))
        await eventually(lambda: bills(first, "builtin"))
        await eventually(lambda: charges.runs(connection))
        async with open_site(database_url, without=()) as second:
            await eventually(lambda: bills(second, "builtin"))
            due = await charges.add_due_fleet(connection, organizations=1)
            await stack.aclose()
            # A new leader bills due hours at once, before the schedule.
            await becomes(lambda: charges.hours_billed(connection), due.expected, promises.SUCCEEDED_SECONDS)
            await eventually(lambda: bills(second, "builtin"))
    assert await charges.runs(connection) == [("builtin", "start", "succeeded")] * 2
    assert await heartbeats(connection) == 0


async def test_it_keeps_the_schedule(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = looks_by(monkeypatch, charging_loop, "read_next_run")
    async with open_site(database_url, without=(), test_clock=True) as site:
        await eventually(lambda: charges.runs(connection))
        due = await charges.add_due_fleet(connection, organizations=1, hours=1)
        # Due, but the run is not: half an hour is left of the interval.
        await shift_clock(connection, timedelta(minutes=30), pool=site.app[POOL])
        for _ in range(3):
            before = looks.count
            await look_at_the_clock(connection)
            await eventually(partial(looks.beyond, before))
        assert [run[1] for run in await charges.runs(connection)] == ["start"]
        await shift_clock(connection, timedelta(minutes=59, seconds=59), pool=site.app[POOL])
        await look_at_the_clock(connection)
        await becomes(lambda: charges.hours_billed(connection), dict.fromkeys(due.expected, 2))
        await becomes(
            lambda: charges.runs(connection),
            [("builtin", "start", "succeeded"), ("builtin", "schedule", "succeeded")],
        )


async def look_at_the_clock(connection: Connection) -> None:
    """A changed clock sends no hint; any other hint makes the biller check."""
    await connection.execute("select pg_notify('billing_changed', '')")
