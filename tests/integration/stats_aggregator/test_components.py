"""The aggregator as monitor: what it measures, and how it records an outage of the database."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg
import pytest

from containerstacks_shared.core.errors import LeadershipLost
from containerstacks_shared.database import db
from containerstacks_shared.database.locks import Leadership, Role, Term
from containerstacks_shared.database.notify import Channel
from containerstacks_shared.process.runtime import Job
from containerstacks_shared.status import component_rules, components
from containerstacks_shared.status.component_rules import Finding
from containerstacks_shared.status.documents import Component, ComponentNow, ComponentState
from containerstacks_stats_aggregator import components as watching
from containerstacks_stats_aggregator import outages as watching_out
from containerstacks_stats_aggregator.components import look_at_components, watch_components_until
from containerstacks_stats_aggregator.folding import FoldProgress
from containerstacks_stats_aggregator.outages import OutageLog
from containerstacks_stats_aggregator.waking import WakingClock
from support import fleet
from support.clock import clock_now
from support.jobs import running
from support.waiting import eventually, listening, looks_by

HOUR = timedelta(hours=1)


async def watch_once(pool: db.Pool, term: Term, outages: OutageLog | None = None) -> None:
    clock = WakingClock()
    await look_at_components(
        pool,
        term,
        progress=FoldProgress(clock),
        outages=outages or OutageLog(pool, clock),
        clock=clock,
        billing_interval=HOUR,
        begins_minute=True,
    )


async def watch(
    halt: asyncio.Event,
    pool: db.Pool,
    term: Term,
    *,
    settle: timedelta,
    clock: WakingClock | None = None,
    outages: OutageLog | None = None,
) -> None:
    clock = clock or WakingClock()
    await watch_components_until(
        halt,
        pool=pool,
        term=term,
        progress=FoldProgress(clock),
        outages=outages or OutageLog(pool, clock),
        clock=clock,
        billing_interval=HOUR,
        settle=settle,
    )


async def now(connection: asyncpg.Connection) -> dict[Component, ComponentNow]:
    return {each.component: each for each in await components.read_now(connection, [])}


async def test_every_component_is_measured(
    connection: asyncpg.Connection, pool: db.Pool, term: Term, database_url: str
) -> None:
    await fleet.add_instances(connection, "running", "running", "running", "failed")
    async with Leadership(database_url, Role.BUILTIN_STANDBY, service="tests") as web:
        await web.try_acquire()
        await watch_once(pool, term)

    states = {component: found.state for component, found in (await now(connection)).items()}
    assert states == {
        Component.VPS: ComponentState.DOWN,
        Component.BILLING: ComponentState.DOWN,
        Component.LIVE_DATA: ComponentState.OPERATIONAL,
        Component.DATABASE: ComponentState.OPERATIONAL,
        Component.WEB: ComponentState.OPERATIONAL,
    }


async def test_without_a_web_process_web_is_down(
    connection: asyncpg.Connection, pool: db.Pool, term: Term
) -> None:
    await watch_once(pool, term)
    assert (await now(connection))[Component.WEB].state is ComponentState.DOWN


async def test_a_replaced_leader_records_nothing(
    connection: asyncpg.Connection, pool: db.Pool, term: Term
) -> None:
    await connection.execute("update leaderships set term = term + 1 where role = 'stats_aggregator'")
    with pytest.raises(LeadershipLost):
        await watch_once(pool, term)
    assert await connection.fetchval("select count(*) from component_history") == 0


async def is_recorded(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("select count(*) from component_history"))


async def test_a_problem_is_recorded_once_things_have_had_time_to_settle(
    connection: asyncpg.Connection, pool: db.Pool, term: Term, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_SETTLING_LOOK_EVERY", timedelta(milliseconds=50))
    looks = looks_by(monkeypatch, watching, "look_at_components")
    async with running(Job("watcher", lambda halt: watch(halt, pool, term, settle=HOUR))):
        await looks.more(3)
        assert not await is_recorded(connection)
    settle = timedelta(milliseconds=50)
    async with running(Job("watcher", lambda halt: watch(halt, pool, term, settle=settle))):
        await eventually(lambda: is_recorded(connection))


async def test_components_without_a_problem_are_recorded_before_things_have_settled(
    connection: asyncpg.Connection, pool: db.Pool, term: Term, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = Finding(ComponentState.OPERATIONAL, "")
    monkeypatch.setattr(component_rules, "measure", lambda *_: well)
    async with running(Job("watcher", lambda halt: watch(halt, pool, term, settle=HOUR))):
        await eventually(lambda: is_recorded(connection))


async def test_a_recovery_is_seen_at_once_and_the_minute_keeps_its_first_state(
    connection: asyncpg.Connection,
    pool: db.Pool,
    term: Term,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY", timedelta(milliseconds=50))

    async def web_is(state: ComponentState) -> bool:
        return (await now(connection))[Component.WEB].state is state

    watcher = Job("watcher", lambda halt: watch(halt, pool, term, settle=timedelta(0)))
    async with (
        running(watcher),
        listening(database_url, Channel.COMPONENTS_CHANGED) as announced,
        Leadership(database_url, Role.BUILTIN_STANDBY, service="tests") as web,
    ):
        await eventually(lambda: web_is(ComponentState.DOWN))
        first_minute = await connection.fetchval(
            "select min(started_at) from component_history where resolution_minutes = 1"
        )
        announced.take_all()
        await web.try_acquire()
        await announced.next()
        assert await web_is(ComponentState.OPERATIONAL)
    minute = await connection.fetchrow(
        "select operational, down from component_history"
        " where resolution_minutes = 1 and component = 'web' and started_at = $1",
        first_minute,
    )
    assert minute is not None
    assert tuple(minute) == (0, 1)


class AwayPool:
    """A pool whose database is away for as long as the test says so."""

    def __init__(self, pool: db.Pool) -> None:
        self.pool = pool
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None

    def acquire(self) -> object:
        if self.away:
            self.meanwhile()
            raise ConnectionRefusedError("nobody listens there")
        return self.pool.acquire()


async def test_an_outage_is_remembered_and_recorded_when_the_database_is_back(
    connection: asyncpg.Connection, pool: db.Pool, term: Term, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_out, "_AWAY_AFTER_SECONDS", 0.0)
    door = AwayPool(pool)
    log = OutageLog(door, WakingClock())  # type: ignore[arg-type] # only acquire() is used
    door.away = True
    assert not await log.look()
    # Without any answer yet, the database's time is unknown.
    assert log.moments == ()

    door.away = False
    assert await log.look()
    door.away = True
    for _ in range(3):
        assert not await log.look()
    # One moment a minute says all there is to say.
    assert 1 <= len(log.moments) <= 2
    assert abs(log.moments[-1] - await clock_now(connection)) < timedelta(seconds=2)

    door.away = False
    await watch_once(pool, term, log)
    assert log.moments == ()
    assert len(await down_minutes(connection)) >= 1


@pytest.mark.parametrize("disturbance", ["this process was stopped", "the database was away"])
async def test_after_a_disturbance_components_get_time_to_settle_again(
    connection: asyncpg.Connection,
    pool: db.Pool,
    term: Term,
    monkeypatch: pytest.MonkeyPatch,
    disturbance: str,
) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY", timedelta(milliseconds=50))
    monkeypatch.setattr(watching, "_SETTLING_LOOK_EVERY", timedelta(milliseconds=50))
    found = Finding(ComponentState.OPERATIONAL, "")
    monkeypatch.setattr(component_rules, "measure", lambda *_: found)
    looks = looks_by(monkeypatch, watching, "look_at_components")
    clock, door = WakingClock(), AwayPool(pool)
    log = OutageLog(door, clock)  # type: ignore[arg-type] # only acquire() is used

    async def all_are(state: ComponentState) -> bool:
        return {each.state for each in (await now(connection)).values()} == {state}

    watcher = Job("watcher", lambda halt: watch(halt, pool, term, settle=HOUR, clock=clock, outages=log))
    async with running(watcher):
        await eventually(lambda: all_are(ComponentState.OPERATIONAL))
        if disturbance == "the database was away":
            door.away = True
            assert not await log.look()
        else:
            was_stopped(clock)
        found = Finding(ComponentState.DOWN, "")
        await looks.more(3)
        assert await all_are(ComponentState.OPERATIONAL)
        # Once all was well again, what is down is down.
        found = Finding(ComponentState.OPERATIONAL, "")
        await looks.more(2)
        found = Finding(ComponentState.DOWN, "")
        await eventually(lambda: all_are(ComponentState.DOWN))


async def test_a_database_that_is_soon_back_is_not_an_outage(pool: db.Pool) -> None:
    door = AwayPool(pool)
    log = OutageLog(door, WakingClock())  # type: ignore[arg-type] # only acquire() is used
    assert await log.look()
    for door.away in (True, True, False, True):
        await log.look()
    assert log.moments == ()


async def test_time_for_which_this_process_was_stopped_is_not_an_outage(
    pool: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_out, "_AWAY_AFTER_SECONDS", 0.0)
    clock = WakingClock()
    door = AwayPool(pool)
    log = OutageLog(door, clock)  # type: ignore[arg-type] # only acquire() is used
    assert await log.look()
    door.away, door.meanwhile = True, lambda: was_stopped(clock)
    assert not await log.look()
    assert log.moments == ()


def was_stopped(clock: WakingClock) -> None:
    """Let the process have stood still until a moment ago."""
    loop_time = clock._loop_time
    clock._loop_time = lambda: loop_time() + 90.0


async def test_a_minute_of_an_outage_without_another_record_counts_as_down(
    connection: asyncpg.Connection, pool: db.Pool, term: Term, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = await clock_now(connection) - timedelta(minutes=5)
    log = OutageLog(pool, WakingClock())
    monkeypatch.setattr(log, "_moments", [moment])
    await watch_once(pool, term, log)
    assert await down_minutes(connection) == [("database", moment.replace(second=0, microsecond=0))]


async def down_minutes(connection: asyncpg.Connection) -> list[tuple[str, datetime]]:
    found = await connection.fetch(
        "select component, started_at from component_history"
        " where resolution_minutes = 1 and down > 0 and component = 'database'"
    )
    return [tuple(row) for row in found]
