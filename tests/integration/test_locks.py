"""Leadership: one at a time, fenced by a term, lost with its session."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from containerstacks_shared.core.errors import DatabaseUnsuitable, LeadershipLost
from containerstacks_shared.database import db, locks
from containerstacks_shared.database.locks import Leadership, Role, Term
from support.waiting import LIMIT_SECONDS, eventually, session_waiting_for, time_limit

ROLE = Role.STATS_AGGREGATOR
HOLDER_PID = "select pid from pg_locks where locktype = 'advisory' and granted and objid = $1::integer::oid"


def candidate(dsn: str, holder: str = "host-1", role: Role = ROLE) -> Leadership:
    return Leadership(dsn, role, service="tests", holder=holder)


async def test_one_candidate_leads_and_the_other_does_not(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with candidate(database_url, "one") as one, candidate(database_url, "two") as two:
        assert not await locks.is_held(connection, ROLE)
        assert await one.try_acquire() == Term(ROLE, 1, "one")
        assert await locks.is_held(connection, ROLE)
        assert not await locks.is_held(connection, Role.BILLING_RUN)
        assert await two.try_acquire() is None

        await one.release()
        assert not await locks.is_held(connection, ROLE)
        assert await two.try_acquire() == Term(ROLE, 2, "two")
    row = await connection.fetchrow("select term, holder, taken_at from leaderships where role = $1", ROLE)
    assert row is not None
    assert (row["term"], row["holder"]) == (2, "two")
    assert row["taken_at"] is not None


async def test_a_released_leadership_can_lead_again(database_url: str) -> None:
    async with candidate(database_url) as leadership:
        first = await leadership.try_acquire()
        await leadership.release()
        second = await leadership.try_acquire()
        assert first is not None
        assert second is not None
        assert second.number == first.number + 1
        assert not leadership.lost.is_set()


async def test_a_waiting_candidate_takes_over_when_the_leader_is_killed(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with candidate(database_url, "one") as one, candidate(database_url, "two") as two:
        await one.try_acquire()
        async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
            taking_over = group.create_task(two.acquire(stop=asyncio.Event(), pause=0.01))
            pid = await connection.fetchval(HOLDER_PID, ROLE.number)
            await connection.execute("select pg_terminate_backend($1, 5000)", pid)
            await one.lost.wait()
        assert one.term is None
        assert taking_over.result() == Term(ROLE, 2, "two")


async def test_acquiring_gives_up_when_stopped_or_out_of_time(database_url: str) -> None:
    async with candidate(database_url, "one") as one, candidate(database_url, "two") as two:
        await one.try_acquire()
        stop = asyncio.Event()
        assert await two.acquire(stop=stop, timeout=0.05, pause=0.01) is None
        async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
            waiting = group.create_task(two.acquire(stop=stop))
            stop.set()
        assert waiting.result() is None


async def test_a_transaction_of_an_older_term_fails(database_url: str, pool: db.Pool) -> None:
    async with candidate(database_url, "one") as one, candidate(database_url, "two") as two:
        old = await one.try_acquire()
        assert old is not None
        async with pool.acquire() as connection, connection.transaction():
            await locks.assert_term(connection, old)
        await one.release()
        await two.try_acquire()
        with pytest.raises(LeadershipLost, match="now two in term 2 does"):
            async with pool.acquire() as connection, connection.transaction():
                await locks.assert_term(connection, old)


async def test_a_term_number_used_twice_belongs_to_its_last_holder(
    database_url: str, pool: db.Pool, connection: asyncpg.Connection
) -> None:
    async with candidate(database_url, "one") as one, candidate(database_url, "two") as two:
        old = await one.try_acquire()
        assert old is not None
        await one.release()
        # A standby that was promoted without the last commits.
        await connection.execute("update leaderships set term = 0, holder = null where role = $1", ROLE)
        new = await two.try_acquire()
        assert new is not None
        assert new.number == old.number
        async with pool.acquire() as writing, writing.transaction():
            await locks.assert_term(writing, new)
            with pytest.raises(LeadershipLost):
                await locks.assert_term(writing, old)


async def test_a_watch_that_ends_for_an_unknown_reason_loses_the_role(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(_connection: asyncpg.Connection) -> None:
        raise ValueError("a bug")

    # Or the server would soon end the session.
    monkeypatch.setattr(locks, "IDLE_SESSION_TIMEOUT", timedelta(hours=1))
    monkeypatch.setattr(locks, "heartbeat", break_off)
    leadership = candidate(database_url)
    await leadership.try_acquire()
    async with time_limit("the role was kept without a watch"):
        await leadership.lost.wait()
    with pytest.raises(ValueError, match="a bug"):
        await leadership.release()
    await eventually(lambda: is_free(connection))


async def test_a_release_that_is_cancelled_frees_the_role_all_the_same(
    database_url: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "IDLE_SESSION_TIMEOUT", timedelta(hours=1))
    leadership = candidate(database_url)
    await leadership.try_acquire()
    releasing = asyncio.create_task(leadership.release())
    # It has begun.
    await asyncio.sleep(0)
    releasing.cancel()
    await asyncio.wait([releasing])
    assert releasing.cancelled()
    await eventually(lambda: is_free(connection))


async def is_free(connection: asyncpg.Connection) -> bool:
    return not await locks.is_held(connection, ROLE)


async def test_a_successor_waits_for_its_predecessors_transaction_in_flight(
    database_url: str, pool: db.Pool, connection: asyncpg.Connection
) -> None:
    async with candidate(database_url, "one") as one, candidate(database_url, "two") as two:
        old = await one.try_acquire()
        assert old is not None
        # The group waits after the transaction has ended, so these are two blocks.
        async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:  # noqa: SIM117
            async with pool.acquire() as writing, writing.transaction():
                await locks.assert_term(writing, old)
                await one.release()
                taking_over = group.create_task(two.try_acquire())
                await session_waiting_for(connection, writing.get_server_pid())
                assert not taking_over.done()
        assert taking_over.result() == Term(ROLE, 2, "two")


async def test_a_predecessor_that_never_ends_blocks_its_successor(
    database_url: str, pool: db.Pool, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_RAISE_ATTEMPTS", 1)
    async with candidate(database_url, "one") as one, candidate(database_url, "two") as two:
        old = await one.try_acquire()
        assert old is not None
        async with pool.acquire() as writing, writing.transaction():
            await locks.assert_term(writing, old)
            await one.release()
            assert await two.try_acquire() is None
            assert not await locks.is_held(connection, ROLE)


async def test_many_transactions_of_one_term_do_not_wait_for_each_other(
    database_url: str, pool: db.Pool
) -> None:
    async with candidate(database_url) as leadership:
        term = await leadership.try_acquire()
        assert term is not None
        async with (
            asyncio.timeout(LIMIT_SECONDS),
            pool.acquire() as first,
            pool.acquire() as second,
            first.transaction(),
            second.transaction(),
        ):
            await locks.assert_term(first, term)
            await locks.assert_term(second, term)


async def test_a_migration_takes_a_lock_but_no_term(empty_database_url: str) -> None:
    async with candidate(empty_database_url, "one", Role.MIGRATION) as leadership:
        assert await leadership.try_acquire() == Term(Role.MIGRATION, 0, "one")


async def test_leading_needs_a_migrated_database(empty_database_url: str) -> None:
    async with candidate(empty_database_url) as leadership:
        with pytest.raises(DatabaseUnsuitable, match="not migrated"):
            await leadership.try_acquire()


@pytest.mark.parametrize("role", Role)
async def test_every_role_with_a_term_has_its_row(database_url: str, role: Role) -> None:
    async with candidate(database_url, role=role) as leadership:
        term = await leadership.try_acquire()
    assert term is not None
    assert term.number == (1 if role.has_term else 0)


def test_the_keys_of_the_locks_are_unique() -> None:
    assert len({role.number for role in Role} | {db.VERSIONS_LOCK}) == len(Role) + 1
