"""A DSN that names several servers leads to the writable one, in whatever state the others are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from containerstacks_shared.core.errors import DatabaseUnavailable
from containerstacks_shared.database import db, suitability
from containerstacks_shared.database.locks import Leadership, Role
from containerstacks_shared.database.notify import Channel, Listener, Subscription
from containerstacks_shared.process.runtime import Job
from containerstacks_shared.schema import migrate
from support import databases
from support.jobs import running
from support.processes import LOCALHOST, free_port
from support.replication import Pair, replicated_pair
from support.waiting import eventually

FENCE = "alter system set default_transaction_read_only = on"
IS_STANDBY = "select pg_is_in_recovery()"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with replicated_pair() as pair:
        yield pair


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Give the address of something that accepts connections and never says a word."""
    silence = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, LOCALHOST, 0)
    try:
        yield f"{LOCALHOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        silence.set()
        server.close()


def address(dsn: str) -> str:
    return urlsplit(dsn).netloc.rpartition("@")[2]


def leading_to(dsn: str, *addresses: str) -> str:
    parts = urlsplit(dsn)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{','.join(addresses)}"))


async def test_a_standby_named_first_is_skipped(pair: Pair) -> None:
    primary, standby = pair.primary.dsn(), pair.standby.dsn()
    dsn = leading_to(primary, address(standby), address(primary))
    async with databases.open_pool(dsn) as pool:
        assert await pool.fetchval(IS_STANDBY) is False
    connection = await db.dedicated_connection(dsn, service="tests")
    assert await connection.fetchval(IS_STANDBY) is False
    await connection.close()


def test_a_migration_skips_a_standby_named_first(pair: Pair) -> None:
    primary, standby = pair.primary.dsn(), pair.standby.dsn()
    assert migrate(leading_to(primary, address(standby), address(primary))).kind == "created"


async def test_silent_and_absent_servers_leave_time_for_one_that_answers(pair: Pair) -> None:
    primary = pair.primary.dsn()
    async with silent_server() as silent:
        dsn = leading_to(primary, silent, f"{LOCALHOST}:{free_port()}", address(primary))
        # Once, with no patience for a second attempt.
        connection = await db.dedicated_connection(dsn, service="tests")
        assert await connection.fetchval(IS_STANDBY) is False
        await connection.close()


@pytest.mark.parametrize("named_twice", [False, True])
async def test_without_a_writable_server_the_error_says_so(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, *, named_twice: bool
) -> None:
    monkeypatch.setattr(db, "_START_PATIENCE_SECONDS", 0.0)
    standby = pair.standby.dsn()
    dsn = leading_to(standby, *[address(standby)] * (2 if named_twice else 1))
    with pytest.raises(DatabaseUnavailable, match="only reads") as failure:
        await db.create_pool(dsn, service="tests")
    assert str(failure.value).count("only reads") == 1
    with pytest.raises(DatabaseUnavailable, match="only reads"):
        await suitability.assert_suitable(dsn, dsn, test_clock=False)


async def test_a_wrong_password_is_reported_although_another_server_is_away(pair: Pair) -> None:
    primary = pair.primary.dsn()
    wrong = urlsplit(leading_to(primary, f"{LOCALHOST}:{free_port()}", address(primary)))
    dsn = urlunsplit(wrong._replace(netloc=f"postgres:sesame@{wrong.netloc.rpartition('@')[2]}"))
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as failure:
        await db.create_pool(dsn, service="tests")
    assert "sesame" not in str(failure.value)


async def test_sessions_leave_a_demoted_primary() -> None:
    """Fenced without a restart, so that no session of its own accord breaks."""
    with replicated_pair() as pair:
        dsn = pair.dsn()
        migrate(dsn)
        listener = Listener(dsn, [Channel.COUNTS_CHANGED], service="tests")
        async with (
            databases.open_pool(dsn, size_max=3) as pool,
            Leadership(dsn, Role.STATS_AGGREGATOR, service="tests") as leadership,
            running(Job("listening", listener.run)),
        ):
            assert await leadership.try_acquire() is not None
            await eventually(lambda: listener.connected)
            await eventually(lambda: all_replayed(pair))
            # Several idle connections, each of which would serve once more.
            await asyncio.gather(*(pool.execute("select pg_sleep(0)") for _ in range(3)))

            await fence(pair)
            pair.promote()

            await asyncio.wait_for(leadership.lost.wait(), 15)
            await eventually(lambda: takes_writes(pool))
            hints = listener.subscribe()
            await eventually(lambda: hears(pool, hints))
            assert await leadership.try_acquire() is not None


async def all_replayed(pair: Pair) -> bool:
    primary, standby = await asyncpg.connect(pair.primary.dsn()), await asyncpg.connect(pair.standby.dsn())
    try:
        written = await primary.fetchval("select pg_current_wal_lsn()::text")
        replayed: bool = await standby.fetchval(
            "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written
        )
        return replayed
    finally:
        await primary.close()
        await standby.close()


async def fence(pair: Pair) -> None:
    connection = await asyncpg.connect(pair.primary.dsn())
    await connection.execute(FENCE)
    await connection.execute("select pg_reload_conf()")
    await connection.close()


async def takes_writes(pool: db.Pool) -> bool:
    try:
        await pool.execute("select nextval('status_versions')")
    except db.UNAVAILABLE:
        return False
    return True


async def hears(pool: db.Pool, hints: Subscription) -> bool:
    """Notify on the new primary, which only a listener there hears."""
    await pool.execute("select pg_notify($1, '')", Channel.COUNTS_CHANGED.value)
    return Channel.COUNTS_CHANGED in await hints.wait(0.5)
