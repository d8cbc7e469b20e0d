"""The pool and the probe of a database's suitability, on a real server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from containerstacks_shared.core.errors import DatabaseSlow, DatabaseUnavailable, DatabaseUnsuitable
from containerstacks_shared.database import bounded_pool, db, suitability
from containerstacks_shared.schema import head_revision
from support import databases
from support.clock import shift_clock
from support.dark_proxy import DarkProxy
from support.databases import with_database
from support.processes import LOCALHOST, free_port
from support.waiting import LIMIT_SECONDS, time_limit

# Within this, the limit was ours; after it, it would be the command timeout of the driver.
ENDED_SECONDS = db._COMMAND_TIMEOUT.total_seconds() / 2


async def test_json_columns_are_python_values(pool: db.Pool) -> None:
    value = {"a": [1, "two", None], "b": {"c": True}}
    assert await pool.fetchval("select $1::jsonb", value) == value
    assert await pool.fetchval("select $1::json", value) == value


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jit", "off"),
        ("TimeZone", "UTC"),
        ("application_name", "containerstacks-tests"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("statement_timeout", "35s"),
        ("idle_session_timeout", "0"),
    ],
)
async def test_pool_sessions_have_the_setting(pool: db.Pool, setting: str, value: str) -> None:
    async with pool.acquire() as connection:
        await connection.execute("set jit = on")
    # Coming back to the pool undoes what the last user set.
    assert await pool.fetchval("select current_setting($1)", setting) == value


async def test_a_dedicated_session_that_falls_silent_is_ended(database_url: str) -> None:
    connection = await db.dedicated_connection(
        database_url, service="tests", idle_timeout=timedelta(milliseconds=50)
    )
    closed = asyncio.Event()
    connection.add_termination_listener(lambda _: closed.set())
    async with asyncio.timeout(LIMIT_SECONDS):
        await closed.wait()
    with pytest.raises(db.UNAVAILABLE):
        await db.heartbeat(connection)


async def test_parameters_that_only_libpq_knows_are_left_to_it(database_url: str) -> None:
    dsn = f"{database_url}?connect_timeout=5&application_name=theirs&keepalives=1"
    async with databases.open_pool(dsn) as pool:
        assert await pool.fetchval("select 1") == 1


async def test_a_pool_without_startup_settings_works_for_a_pooler(database_url: str) -> None:
    async with databases.open_pool(database_url, through_pooler=True) as pool:
        assert await pool.fetchval("select $1::jsonb", {"a": 1}) == {"a": 1}
        assert await pool.fetchval("select count(*) from pg_prepared_statements") == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"database": "nowhere_to_be_found"}, "refuses the connection"),
        ({"port": free_port()}, "cannot be reached"),
    ],
    ids=["no such database", "no such server"],
)
async def test_an_unreachable_database_is_reported_in_one_line_without_the_password(
    database_url: str, change: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "_START_PATIENCE_SECONDS", 0.0)
    if "database" in change:
        dsn = with_database(database_url, str(change["database"]))
    else:
        dsn = f"postgresql://user:sesame@{LOCALHOST}:{change['port']}/fleet"
    with pytest.raises(DatabaseUnavailable, match=words) as failure:
        await db.create_pool(dsn, service="tests")
    assert "\n" not in str(failure.value)
    assert "sesame" not in str(failure.value)


async def test_a_migrated_database_is_suitable(database_url: str) -> None:
    await suitability.assert_suitable(database_url, database_url, test_clock=False)


def test_the_schema_that_this_release_needs_is_the_newest_migration() -> None:
    assert head_revision() == suitability.SCHEMA_REVISION


async def test_a_database_that_is_not_migrated_is_refused(empty_database_url: str) -> None:
    with pytest.raises(DatabaseUnsuitable, match="containerstacks migrate"):
        await suitability.assert_suitable(empty_database_url, empty_database_url, test_clock=False)


async def test_an_older_schema_is_refused_and_a_newer_one_is_not(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute("update containerstacks_schema_version set version_num = '9999'")
    await suitability.assert_suitable(database_url, database_url, test_clock=False)
    await connection.execute("update containerstacks_schema_version set version_num = '0000'")
    with pytest.raises(DatabaseUnsuitable, match="revision 0000"):
        await suitability.assert_suitable(database_url, database_url, test_clock=False)


async def test_a_schema_that_the_application_changed_under_us_is_refused(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "drop trigger containerstacks_ledger on wallets; alter table wallets alter column balance type numeric(12, 4);"
        " alter table vps_instances add column backup_frequency varchar(20) default 'weekly'; drop table containers"
    )
    expected = (
        "table containers is gone; trigger containerstacks_ledger on wallets is gone;"
        r" vps_instances.backup_frequency is new; wallets.balance is numeric\(12,4\). Run `containerstacks migrate`"
    )
    with pytest.raises(DatabaseUnsuitable, match=expected):
        await suitability.assert_suitable(database_url, database_url, test_clock=False)


async def test_a_shifted_clock_is_refused_unless_a_test_wants_it(
    database_url: str, connection: asyncpg.Connection
) -> None:
    await shift_clock(connection, timedelta(hours=5))
    with pytest.raises(DatabaseUnsuitable, match="TEST_CLOCK"):
        await suitability.assert_suitable(database_url, database_url, test_clock=False)
    await suitability.assert_suitable(database_url, database_url, test_clock=True)


async def test_a_listen_url_that_leads_elsewhere_is_refused(
    database_url: str, schema_a_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suitability, "_PROBE_SECONDS", 0.2)
    with pytest.raises(DatabaseUnsuitable, match="LISTEN does not work"):
        await suitability.assert_suitable(database_url, schema_a_url, test_clock=False)


@pytest.fixture
async def pool_through_proxy(proxy: DarkProxy) -> AsyncIterator[db.Pool]:
    pool = await db.create_pool(proxy.dsn, service="tests")
    yield pool
    pool.terminate()


async def ask(pool: db.Pool, *, in_transaction: bool) -> None:
    async with pool.acquire() as connection:
        if not in_transaction:
            await connection.execute("select 1")
            return
        async with connection.transaction():
            await connection.execute("select 1")


@pytest.mark.parametrize("in_transaction", [True, False])
async def test_a_time_limit_ends_a_session_that_does_not_answer(
    proxy: DarkProxy, pool_through_proxy: db.Pool, *, in_transaction: bool
) -> None:
    proxy.go_dark_at(b"SELECT 1")
    async with time_limit("the limit did not end it", within=ENDED_SECONDS):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(pool_through_proxy, in_transaction=in_transaction)
    assert pool_through_proxy.get_size() == 0


@pytest.mark.parametrize("in_transaction", [True, False])
async def test_work_that_is_cancelled_while_the_server_does_not_answer_stays_cancelled(
    proxy: DarkProxy, pool_through_proxy: db.Pool, *, in_transaction: bool
) -> None:
    dark = proxy.go_dark_at(b"SELECT 1")
    asking = asyncio.create_task(ask(pool_through_proxy, in_transaction=in_transaction))
    await dark.wait()
    asking.cancel()
    async with time_limit("the work did not end", within=ENDED_SECONDS):
        await asyncio.wait([asking])
    assert asking.cancelled()


async def test_a_statement_that_outlasts_a_limit_is_cancelled_on_the_server_too(
    pool: db.Pool, connection: asyncpg.Connection
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), pool.acquire() as borrowed, borrowed.transaction():
            await borrowed.execute("select pg_sleep(60)")
    asleep = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
    assert await connection.fetchval(asleep) == 0
    # It answered, so its session goes on.
    assert pool.get_size() == 1


async def test_waiting_too_long_for_a_session_is_refused_with_the_limit(
    pool: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_pool, "CONNECTION_SECONDS_MAX", 0.05)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(pool.get_max_size()):
            await stack.enter_async_context(pool.acquire())
        with pytest.raises(DatabaseSlow, match=r"no session of the database was free within 0\.05 s"):
            async with bounded_pool.lend(pool):
                pass
    async with bounded_pool.lend(pool) as connection:
        assert await connection.fetchval("select 1") == 1


async def test_a_query_that_takes_too_long_is_refused_with_its_limit(pool: db.Pool) -> None:
    with pytest.raises(DatabaseSlow, match=r"did not answer within 0\.1 s"):
        async with bounded_pool.lend(pool, within=0.1) as borrowed, borrowed.transaction():
            await borrowed.execute("select pg_sleep(60)")
    # Another limit raises its own error.
    with pytest.raises(TimeoutError):
        async with bounded_pool.lend(pool, within=60) as borrowed, asyncio.timeout(0.1):
            await borrowed.execute("select pg_sleep(60)")
