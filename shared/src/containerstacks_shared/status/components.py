"""What each component is like, and was: recorded each minute, added up per hour and day, read as bars and uptime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from . import component_rules
from .component_rules import Finding
from .documents import (
    Component,
    ComponentDay,
    ComponentNow,
    ComponentReport,
    ComponentState,
    ComponentUptime,
    Incident,
    StateMinutes,
    UptimeWindow,
)

DAYS: Final = 90

_MINUTE, _HOUR, _DAY = 1, 60, 1440
# A rolling day is made of minutes, 90 days of hours. With some to spare for a database that was away.
_RETENTION: Final = {_MINUTE: timedelta(days=3), _HOUR: timedelta(days=100), _DAY: timedelta(days=3650)}
_WINDOWS: Final = {
    UptimeWindow.DAY: (_MINUTE, timedelta(hours=24)),
    UptimeWindow.WEEK: (_HOUR, timedelta(days=7)),
    UptimeWindow.MONTH: (_HOUR, timedelta(days=30)),
    UptimeWindow.QUARTER: (_HOUR, timedelta(days=90)),
}

_QUERIES: Final = load(__name__)


@dataclass(frozen=True)
class Clock:
    """The database's time, and how long until its next minute begins."""

    now: datetime
    to_next_minute: timedelta


@dataclass(frozen=True)
class _State:
    finding: Finding
    checked_at: datetime | None


async def record(
    connection: Connection, measured: Mapping[Component, Finding], incidents: Sequence[Incident]
) -> None:
    """Write down what this minute is like, add hours and days up, and forget what is too old.

    `measured` is by the rules; the minute counts as what `incidents` (those not over) make of it.
    Runs in a transaction that has checked its term.
    """
    await save_states(connection, measured)
    for component, finding in measured.items():
        state = component_rules.overrule(component, finding, incidents).state
        await connection.execute(_QUERIES["record_minute"], component, state)
    await _add_up(connection, since=None)
    for resolution, kept in _RETENTION.items():
        await connection.execute(_QUERIES["forget"], resolution, kept)


async def record_outages(connection: Connection, moments: Sequence[datetime]) -> None:
    """Record that the database did not answer then; findings since then stay as they are.

    Runs as `record` does, and before it.
    """
    if not moments:
        return
    await connection.executemany(_QUERIES["record_outage"], [(moment,) for moment in moments])
    await _add_up(connection, since=min(moments))


async def _add_up(connection: Connection, *, since: datetime | None) -> None:
    await connection.execute(_QUERIES["roll_up"], _MINUTE, _HOUR, since)
    await connection.execute(_QUERIES["roll_up"], _HOUR, _DAY, since)


async def save_states(connection: Connection, measured: Mapping[Component, Finding]) -> None:
    """Write down what the rules say now, and announce it when that is news. Runs as `record` does."""
    changed = False
    for component, finding in measured.items():
        changed |= await connection.fetchval(
            _QUERIES["save_state"], component, finding.state, finding.because, component_rules.RECORD_LIFETIME
        )
    if changed:
        await connection.execute(_QUERIES["announce"])


async def read_clock(connection: Connection) -> Clock:
    row = await connection.fetchrow(_QUERIES["clock"])
    assert row is not None
    return Clock(**dict(row))


async def read_now(connection: Connection, incidents: Sequence[Incident]) -> list[ComponentNow]:
    """Read the state of every component; `incidents` are those not over."""
    states = await _read_states(connection)
    return [ComponentNow(**_now(component, states, incidents)) for component in Component]


async def read_reports(connection: Connection, incidents: Sequence[Incident]) -> list[ComponentReport]:
    """Read state, uptime and daily bars of every component; `incidents` are those not over."""
    states = await _read_states(connection)
    uptime = await _read_uptime(connection)
    days = await _read_days(connection)
    return [
        ComponentReport(**_now(component, states, incidents), uptime=uptime[component], days=days[component])
        for component in Component
    ]


async def _read_states(connection: Connection) -> dict[Component, _State]:
    states = dict.fromkeys(Component, _State(component_rules.NO_DATA, None))
    for row in await connection.fetch(_QUERIES["states"], component_rules.RECORD_LIFETIME):
        finding = component_rules.NO_DATA
        if row["is_fresh"]:
            finding = Finding(ComponentState(row["state"]), row["because"])
        states[Component(row["component"])] = _State(finding, row["checked_at"])
    return states


def _now(
    component: Component, states: Mapping[Component, _State], incidents: Sequence[Incident]
) -> dict[str, Any]:
    state = states[component]
    finding = component_rules.overrule(component, state.finding, incidents)
    return {
        "component": component,
        "name": component.title,
        "state": finding.state,
        "because": finding.because,
        "checked_at": state.checked_at,
    }


async def _read_uptime(connection: Connection) -> dict[Component, list[ComponentUptime]]:
    uptime: dict[Component, list[ComponentUptime]] = {component: [] for component in Component}
    for window, (resolution, length) in _WINDOWS.items():
        rows = await connection.fetch(_QUERIES["minutes_since"], resolution, length)
        recorded = {row["component"]: _minutes(row) for row in rows}
        for component, figures in uptime.items():
            minutes = recorded.get(component, StateMinutes())
            figures.append(
                ComponentUptime(
                    window=window,
                    percent=component_rules.uptime_percent(minutes),
                    recorded_minutes=minutes.recorded,
                    total_minutes=length // timedelta(minutes=1),
                )
            )
    return uptime


async def _read_days(connection: Connection) -> dict[Component, list[ComponentDay]]:
    today: date = await connection.fetchval(_QUERIES["today"])
    recorded = {
        (row["component"], row["date"]): _minutes(row)
        for row in await connection.fetch(_QUERIES["days"], DAYS)
    }
    dates = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    return {
        component: [_day(day, recorded.get((component, day), StateMinutes())) for day in dates]
        for component in Component
    }


def _day(day: date, minutes: StateMinutes) -> ComponentDay:
    return ComponentDay(
        date=day, state=component_rules.state_of_day(minutes), **minutes.model_dump(by_alias=False)
    )


def _minutes(row: Any) -> StateMinutes:
    return StateMinutes(**{name: row[name] for name in StateMinutes.model_fields})
