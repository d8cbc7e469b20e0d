"""Components over time: recorded once a minute, added up exactly, read as bars and uptime."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg

from containerstacks_shared.database.notify import Channel
from containerstacks_shared.status import components, incidents
from containerstacks_shared.status.component_rules import NO_DATA, Finding
from containerstacks_shared.status.documents import (
    Component,
    ComponentReport,
    ComponentState,
    Incident,
    IncidentKind,
    UptimeWindow,
)
from containerstacks_shared.status.incident_drafts import MaintenanceDraft
from support.clock import go_to
from support.waiting import listening

NOON = datetime(2030, 3, 10, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OPERATIONAL, DOWN = ComponentState.OPERATIONAL, ComponentState.DOWN


async def record_at(
    connection: asyncpg.Connection,
    moment: datetime,
    state: ComponentState = OPERATIONAL,
    *,
    said: Sequence[Incident] = (),
    outages: Sequence[datetime] = (),
) -> None:
    await go_to(connection, moment)
    findings = dict.fromkeys(Component, Finding(OPERATIONAL, "It works."))
    findings[Component.DATABASE] = Finding(state, "Because.")
    async with connection.transaction():
        await components.record_outages(connection, outages)
        await components.record(connection, findings, said)


async def database_report(connection: asyncpg.Connection) -> ComponentReport:
    reports = await components.read_reports(connection, [])
    assert [report.component for report in reports] == list(Component)
    return next(report for report in reports if report.component is Component.DATABASE)


async def rows(connection: asyncpg.Connection, resolution: int) -> list[tuple[object, ...]]:
    found = await connection.fetch(
        "select started_at, operational, down, maintenance from component_history"
        " where component = 'database' and resolution_minutes = $1 order by started_at",
        resolution,
    )
    return [tuple(row) for row in found]


async def test_without_any_record_there_is_no_data_anywhere(connection: asyncpg.Connection) -> None:
    report = await database_report(connection)
    assert (report.state, report.checked_at) == (ComponentState.NO_DATA, None)
    assert {day.state for day in report.days} == {ComponentState.NO_DATA}
    assert [(uptime.percent, uptime.recorded_minutes) for uptime in report.uptime] == [(None, 0)] * 4


async def test_a_minute_counts_once_and_hours_and_days_add_up(connection: asyncpg.Connection) -> None:
    for minutes, state in ((0, OPERATIONAL), (0, DOWN), (1, DOWN), (60, OPERATIONAL), (24 * 60, OPERATIONAL)):
        await record_at(connection, NOON + minutes * MINUTE, state)

    hour = NOON.replace(second=0)
    day = NOON.replace(hour=0, second=0)
    assert await rows(connection, 60) == [
        (hour, 1, 1, 0),
        (hour + 60 * MINUTE, 1, 0, 0),
        (hour + timedelta(days=1), 1, 0, 0),
    ]
    assert await rows(connection, 1440) == [(day, 2, 1, 0), (day + timedelta(days=1), 1, 0, 0)]


async def test_bars_and_uptime_show_what_is_recorded(connection: asyncpg.Connection) -> None:
    await record_at(connection, NOON - timedelta(days=40))
    await record_at(connection, NOON - timedelta(days=2), DOWN)
    await record_at(connection, NOON - MINUTE)
    await record_at(connection, NOON, DOWN)

    report = await database_report(connection)

    assert (report.state, report.because) == (DOWN, "Because.")
    assert len(report.days) == 90
    assert report.days[-1].date == NOON.date()
    known = {ago: day.state for ago, day in enumerate(reversed(report.days)) if day.recorded}
    assert known == {0: DOWN, 2: DOWN, 40: OPERATIONAL}
    assert report.days[-2].state is ComponentState.NO_DATA
    assert {uptime.window: (uptime.percent, uptime.recorded_minutes) for uptime in report.uptime} == {
        UptimeWindow.DAY: (Decimal(50), 2),
        UptimeWindow.WEEK: (Decimal("33.333"), 3),
        UptimeWindow.MONTH: (Decimal("33.333"), 3),
        UptimeWindow.QUARTER: (Decimal(50), 4),
    }
    assert [uptime.total_minutes for uptime in report.uptime] == [1440, 10_080, 43_200, 129_600]


async def test_a_record_expires(connection: asyncpg.Connection) -> None:
    await record_at(connection, NOON)
    (*_, database, _web) = await components.read_now(connection, [])
    assert database.state is OPERATIONAL
    await go_to(connection, NOON + timedelta(seconds=151))
    (*_, database, _web) = await components.read_now(connection, [])
    assert (database.state, database.because) == (ComponentState.NO_DATA, NO_DATA.because)
    assert database.checked_at is not None


async def test_maintenance_is_recorded_and_shown_instead_of_what_is_measured(
    connection: asyncpg.Connection,
) -> None:
    await go_to(connection, NOON)
    draft = MaintenanceDraft(
        kind=IncidentKind.MAINTENANCE,
        title="New disks",
        body="Disks are replaced.",
        components=(Component.DATABASE,),
        starts_at=NOON,
        ends_at=NOON + 10 * MINUTE,
    )
    await incidents.publish(connection, draft, author="ann")
    await go_to(connection, NOON + MINUTE)
    said = await incidents.read_current(connection)
    await record_at(connection, NOON + MINUTE, DOWN, said=said)

    assert [row[1:] for row in await rows(connection, 1)] == [(0, 0, 1)]
    (*_, database, _web) = await components.read_now(connection, said)
    assert (database.state, database.because) == (ComponentState.MAINTENANCE, "Maintenance: New disks")
    # Once it is over, what was measured shows at once.
    (*_, database, _web) = await components.read_now(connection, [])
    assert database.state is DOWN


async def test_an_outage_is_recorded_afterwards_and_only_for_the_database(
    connection: asyncpg.Connection,
) -> None:
    await record_at(connection, NOON - 90 * MINUTE)
    # Somebody else recorded meanwhile, and began newer hours.
    await record_at(connection, NOON - 60 * MINUTE)
    away = [NOON - 80 * MINUTE, NOON - 60 * MINUTE]
    await record_at(connection, NOON, outages=away)

    hour = NOON.replace(second=0)
    assert await rows(connection, 60) == [
        (hour - 120 * MINUTE, 1, 1, 0),
        (hour - 60 * MINUTE, 1, 0, 0),
        (hour, 1, 0, 0),
    ]
    assert (await rows(connection, 1440))[0][1:] == (3, 1, 0)
    others = await connection.fetchval(
        "select count(*) from component_history where down > 0 and component <> 'database'"
    )
    assert others == 0


async def test_an_outage_after_the_last_look_makes_its_minute_down(connection: asyncpg.Connection) -> None:
    second = timedelta(seconds=1)
    minute = NOON.replace(second=0)
    await record_at(connection, minute)
    # Somebody looks later than the first of these, so that it was not the database that was away.
    await record_at(connection, minute + 20 * second)
    await record_at(connection, minute + 50 * second, outages=[minute + 10 * second])
    assert await rows(connection, 1) == [(minute, 1, 0, 0)]

    await record_at(connection, minute + MINUTE, outages=[minute + 55 * second])
    assert await rows(connection, 1) == [(minute, 0, 1, 0), (minute + MINUTE, 1, 0, 0)]
    assert [row[1:] for row in await rows(connection, 60)] == [(1, 1, 0)]


async def test_each_resolution_has_its_own_retention(connection: asyncpg.Connection) -> None:
    await record_at(connection, NOON)
    for days, left in ((4, (1, 2, 2)), (110, (1, 1, 3))):
        await record_at(connection, NOON + timedelta(days=days))
        assert tuple([len(await rows(connection, each)) for each in (1, 60, 1440)]) == left


async def test_another_state_is_announced_and_the_same_is_not(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with listening(database_url, Channel.COMPONENTS_CHANGED) as heard:
        await record_at(connection, NOON)
        await heard.next()
        await record_at(connection, NOON + MINUTE / 2)
        await record_at(connection, NOON + MINUTE, DOWN)
        await heard.next()
        assert heard.take_all() == []


async def test_the_same_state_is_announced_after_a_gap(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with listening(database_url, Channel.COMPONENTS_CHANGED) as heard:
        for minutes in (0, 2):
            await record_at(connection, NOON + minutes * MINUTE)
            await heard.next()
