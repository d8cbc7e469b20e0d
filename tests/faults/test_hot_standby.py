"""Reads from a hot standby: their age is bounded and known, and they never delay other requests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from containerstacks_shared.database import db, reading
from containerstacks_shared.database.reading import Reader
from containerstacks_shared.schema import migrate
from containerstacks_web.database import READER
from support import fleet
from support.databases import DatabaseServer, with_database
from support.processes import LOCALHOST, Processes, free_port
from support.replication import Pair, replicated_pair
from support.waiting import eventually
from support.web_site import open_site

AGES = timedelta(days=1)
NOWHERE = f"postgresql://nobody@{LOCALHOST}:{free_port()}/nothing"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with replicated_pair() as pair:
        yield pair


@pytest.fixture
def dsn(pair: Pair) -> Iterator[str]:
    """Give a migrated database on the primary."""
    server = DatabaseServer(pair.primary.dsn())
    dsn = server.create("test")
    migrate(dsn)
    yield dsn
    server.drop(dsn.rpartition("/")[2])


@pytest.fixture
async def primary(dsn: str) -> AsyncIterator[db.Pool]:
    pool = await db.create_pool(dsn, service="tests")
    yield pool
    pool.terminate()


@pytest.fixture
async def standby(pair: Pair, dsn: str) -> AsyncIterator[db.Pool]:
    pool = await db.create_standby_pool(standby_dsn(pair, dsn), service="tests")
    yield pool
    pool.terminate()


@pytest.fixture
async def replay(pair: Pair) -> AsyncIterator["Replay"]:
    connection = await asyncpg.connect(pair.standby.dsn())
    replay = Replay(connection)
    yield replay
    await replay.resume()
    await connection.close()


class Replay:
    """The standby's replay, which a test can hold up."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def pause(self) -> None:
        await self._connection.execute("select pg_wal_replay_pause()")
        await eventually(self._is_paused)

    async def resume(self) -> None:
        await self._connection.execute("select pg_wal_replay_resume()")

    async def _is_paused(self) -> bool:
        state: str = await self._connection.fetchval("select pg_get_wal_replay_pause_state()")
        return state == "paused"


def standby_dsn(pair: Pair, dsn: str) -> str:
    return with_database(pair.standby.dsn(), dsn.rpartition("/")[2])


async def users(connection: db.Connection) -> int:
    count: int = await connection.fetchval("select count(*) from users")
    return count


async def caught_up(reader: Reader, count: int) -> reading.Reading[int] | None:
    found = await reader.read(users)
    return found if found.from_standby and found.value == count else None


@pytest.fixture(autouse=True)
def _tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_RETRY_SECONDS", 0.0)


async def test_a_current_standby_is_read(primary: db.Pool, standby: db.Pool) -> None:
    reader = Reader(primary, standby, behind_max=timedelta(seconds=30))
    async with primary.acquire() as connection:
        await fleet.add_user(connection)
    before = datetime.now(UTC)

    async def as_of_now() -> bool:
        # How far it is, is measured first: of what it replays between that and the reading, the reading makes no claim.
        found = await caught_up(reader, 1)
        return found is not None and found.as_of >= before

    await eventually(as_of_now)


async def test_a_standby_that_lags_is_skipped_until_it_has_caught_up(
    primary: db.Pool, standby: db.Pool, replay: Replay
) -> None:
    reader = Reader(primary, standby, behind_max=timedelta(0))
    await eventually(lambda: caught_up(reader, 0))
    await replay.pause()
    async with primary.acquire() as connection:
        await fleet.add_user(connection)

    with capture_logs() as logs:
        found = await reader.read(users)
        assert (found.value, found.from_standby) == (1, False)
        await reader.read(users)
        await replay.resume()
        await eventually(lambda: caught_up(reader, 1))
    assert [entry["event"] for entry in logs] == ["standby.left_alone", "standby.read_again"]
    assert "behind" in logs[0]["reason"]


async def test_an_old_reading_has_its_age(primary: db.Pool, standby: db.Pool, replay: Replay) -> None:
    reader = Reader(primary, standby, behind_max=AGES)
    await eventually(lambda: caught_up(reader, 0))
    await replay.pause()
    async with primary.acquire() as connection:
        await fleet.add_user(connection)
        committed_at = await connection.fetchval("select clock_timestamp()")

    found = await reader.read(users)
    assert (found.value, found.from_standby) == (0, True)
    assert found.as_of < committed_at


async def test_an_absent_standby_is_skipped_and_not_retried_at_once(
    primary: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_RETRY_SECONDS", 3600.0)
    standby = await db.create_standby_pool(NOWHERE, service="tests")
    reader = Reader(primary, standby, behind_max=AGES)
    assert (await reader.read(users)).value == 0
    standby.terminate()
    # Asking a pool that is closed would be an error of another kind.
    assert (await reader.read(users)).value == 0


async def test_with_the_primary_away_the_standby_still_answers(primary: db.Pool, standby: db.Pool) -> None:
    async with primary.acquire() as connection:
        await fleet.add_user(connection)
    await eventually(lambda: caught_up(Reader(primary, standby, behind_max=AGES), 1))
    away = await db.create_standby_pool(NOWHERE, service="tests")
    asked_at = datetime.now(UTC)
    found = await Reader(away, standby, behind_max=AGES).read(users)
    # What the primary committed since is unknown, so the reading is as old as the last replayed commit.
    assert (found.value, found.from_standby) == (1, True)
    assert found.as_of < asked_at
    with pytest.raises(db.UNAVAILABLE):
        await Reader(away, standby, behind_max=timedelta(0)).read(users)
    away.terminate()


async def test_a_server_that_is_not_a_standby_is_skipped(primary: db.Pool, dsn: str) -> None:
    promoted = await db.create_standby_pool(dsn, service="tests")
    found = await Reader(primary, promoted, behind_max=AGES).read(users)
    assert not found.from_standby
    promoted.terminate()


async def test_a_reading_that_the_standby_cancels_goes_to_the_primary(
    primary: db.Pool, standby: db.Pool
) -> None:
    reader = Reader(primary, standby, behind_max=AGES)
    await eventually(lambda: caught_up(reader, 0))
    asked = 0

    async def cancelled_once(connection: db.Connection) -> int:
        nonlocal asked
        asked += 1
        if asked == 1:
            # What replay does to a session that reads what it is about to remove.
            await connection.execute("do $$ begin raise exception sqlstate '40001'; end $$")
        return await users(connection)

    found = await reader.read(cancelled_once)
    assert (found.value, found.from_standby, asked) == (0, False, 2)


async def test_the_about_page_is_as_old_as_it_says(
    pair: Pair, dsn: str, primary: db.Pool, replay: Replay
) -> None:
    async with open_site(
        dsn, database_read_url=standby_dsn(pair, dsn), database_read_behind_seconds_max=86_400
    ) as site:
        await eventually(lambda: caught_up(site.app[READER], 0))
        await replay.pause()
        async with primary.acquire() as connection:
            await fleet.add_user(connection)
            committed_at = await connection.fetchval("select clock_timestamp()")
        stats = (await site.json("/api/health/platform-stats"))["stats"]
        assert stats["users"]["total"] == 0
        # Five minutes from when it was true, not from when it was asked.
        assert datetime.fromisoformat(stats["cacheExpiry"]) < committed_at + timedelta(minutes=5)


async def test_web_starts_and_serves_while_its_standby_is_away(dsn: str, processes: Processes) -> None:
    web = await processes.start_web(dsn, DATABASE_READ_URL=NOWHERE)
    assert (await web.get_json("/api/health/platform-stats"))["stats"]["users"]["total"] == 0
    await eventually(lambda: "standby.left_alone" in web.log)
    assert await web.terminate() == 0


async def test_many_readers_at_once_share_few_connections(primary: db.Pool, standby: db.Pool) -> None:
    reader = Reader(primary, standby, behind_max=AGES)
    await eventually(lambda: caught_up(reader, 0))
    found = await asyncio.gather(*(reader.read(users) for _ in range(50)))
    assert {(one.value, one.from_standby) for one in found} == {(0, True)}
    assert standby.get_size() <= standby.get_max_size() < 50
