"""Leaders and listeners while their process stands still or their network goes dark."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from containerstacks_shared.database import locks
from containerstacks_shared.database.db import UNAVAILABLE, Pool
from containerstacks_shared.database.locks import Leadership, Role
from containerstacks_shared.database.notify import RESYNC, Channel, Listener
from containerstacks_shared.process.runtime import Job
from support import promises
from support.dark_proxy import DarkProxy
from support.fleet import add_organization
from support.jobs import running
from support.waiting import LIMIT_SECONDS, eventually, looks_by, time_limit

ROLE = Role.STATS_AGGREGATOR
LOCK_HOLDER = Path(__file__).with_name("lock_holder.py")


@contextlib.asynccontextmanager
async def lock_holder(dsn: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, LOCK_HOLDER, dsn, ROLE, stdin=PIPE, stdout=PIPE
    )
    try:
        assert await next_line(process) == "leading 1"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def next_line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_SECONDS):
        return (await process.stdout.readline()).decode().strip()


async def written_by(process: Process) -> str:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    return await next_line(process)


async def test_a_stopped_leader_loses_the_lock_and_writes_nothing_when_it_wakes(database_url: str) -> None:
    async with (
        lock_holder(database_url) as holder,
        Leadership(database_url, ROLE, service="tests") as successor,
    ):
        assert await written_by(holder) == "wrote"
        holder.send_signal(signal.SIGSTOP)
        term = await successor.acquire(stop=asyncio.Event(), timeout=promises.SUCCEEDED_SECONDS)
        assert term is not None
        assert term.number == 2
        holder.send_signal(signal.SIGCONT)
        assert await written_by(holder) == "lost"


async def test_a_killed_leader_is_replaced_at_once(database_url: str) -> None:
    async with (
        lock_holder(database_url) as holder,
        Leadership(database_url, ROLE, service="tests") as successor,
    ):
        holder.kill()
        assert await successor.acquire(stop=asyncio.Event(), timeout=2, pause=0.01) is not None


async def test_a_leader_notices_that_its_network_went_dark_and_loses_the_lock(
    proxy: DarkProxy, connection: asyncpg.Connection
) -> None:
    async with Leadership(proxy.dsn, ROLE, service="tests") as leadership:
        assert await leadership.try_acquire() is not None
        proxy.go_dark()
        async with asyncio.timeout(LIMIT_SECONDS):
            await leadership.lost.wait()

        async def released() -> bool:
            return not await locks.is_held(connection, ROLE)

        # The server cannot know; it drops the session for its silence.
        await eventually(released, within=promises.SUCCEEDED_SECONDS)


async def test_a_candidate_cut_off_gives_up_in_time_and_leads_once_reconnected(proxy: DarkProxy) -> None:
    async with Leadership(proxy.dsn, ROLE, service="tests") as leadership:
        proxy.go_dark()
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await leadership.acquire(stop=asyncio.Event(), timeout=0.1) is None
        proxy.go_light()
        assert await leadership.acquire(stop=asyncio.Event(), timeout=5) is not None


async def test_a_candidate_whose_session_leads_nowhere_takes_over_all_the_same(
    database_url: str, proxy: DarkProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that moved to another server, or a firewall that forgot the connection, says nothing."""
    leader = Leadership(database_url, ROLE, service="tests", holder="leader")
    standby = Leadership(proxy.dsn, ROLE, service="tests", holder="standby")
    async with leader, standby, asyncio.TaskGroup() as group:
        await leader.try_acquire()
        tries = looks_by(monkeypatch, standby, "_try")
        taking_over = group.create_task(standby.acquire(stop=asyncio.Event()))
        await tries.more(1)
        proxy.lose_connections()
        await leader.release()
        async with time_limit("nobody took over", within=promises.SUCCEEDED_SECONDS):
            assert await taking_over is not None


async def test_a_listener_cut_off_reconnects_and_resynchronises(
    proxy: DarkProxy, connection: asyncpg.Connection
) -> None:
    listener = Listener(proxy.dsn, [Channel.COUNT_DELTAS], service="tests")
    subscription = listener.subscribe()
    async with running(Job("listener", listener.run), stops_within=10):
        assert await subscription.wait(LIMIT_SECONDS) == {RESYNC}
        proxy.go_dark()
        await connection.execute("select pg_notify($1, '')", Channel.COUNT_DELTAS)
        await eventually(lambda: not listener.connected, within=promises.RECOVERED_SECONDS)
        proxy.go_light()
        assert RESYNC in await subscription.wait(LIMIT_SECONDS)
        assert listener.connected


async def test_a_leader_stopped_during_a_statement_is_replaced(database_url: str, pool: Pool) -> None:
    """Between preparing and executing, the server waits for its client, and no timeout of its ends that."""
    one = Leadership(database_url, ROLE, service="tests", holder="one")
    two = Leadership(database_url, ROLE, service="tests", holder="two")
    async with one, two, pool.acquire() as writing:
        term = await one.try_acquire()
        assert term is not None
        transaction = writing.transaction()
        await transaction.start()
        await locks.assert_term(writing, term)
        await writing.prepare("select $1::integer")
        await one.release()
        async with asyncio.timeout(promises.SUCCEEDED_SECONDS):
            successor = await two.acquire(stop=asyncio.Event())
        assert successor is not None
        assert successor.holder == "two"
        with pytest.raises(UNAVAILABLE):
            await transaction.commit()


async def test_a_leader_frees_the_rows_that_a_stopped_process_holds(
    database_url: str, pool: Pool, connection: asyncpg.Connection
) -> None:
    """Also those of a process in another role, and of one without a successor."""
    organization = (await add_organization(connection)).id
    async with Leadership(database_url, ROLE, service="tests") as leadership, pool.acquire() as charging:
        transaction = charging.transaction()
        await transaction.start()
        await charging.execute("select from wallets where organization_id = $1 for update", organization)
        await charging.prepare("select $1::integer")
        await leadership.try_acquire()
        idle_for_long = await pool.fetchval("select pg_backend_pid()")
        async with asyncio.timeout(promises.SUCCEEDED_SECONDS):
            await connection.execute(
                "update wallets set balance = balance + 1 where organization_id = $1", organization
            )
        with pytest.raises(UNAVAILABLE):
            await transaction.commit()
        # Neither the leader nor an idle process was ended.
        assert leadership.term is not None
        assert await pool.fetchval("select pg_backend_pid()") == idle_for_long
