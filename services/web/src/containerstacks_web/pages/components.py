"""The components of the status page in words: their bars, their uptime, and the rules behind both."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Final

from containerstacks_shared.status import component_rules
from containerstacks_shared.status.component_rules import uptime_percent
from containerstacks_shared.status.documents import (
    ComponentDay,
    ComponentNow,
    ComponentReport,
    ComponentState,
    ComponentUptime,
    Impact,
    Incident,
    IncidentKind,
    UptimeWindow,
)
from containerstacks_web.live.board import Board
from containerstacks_web.rendering.formats import span

STATE_WORDS: Final = (
    (ComponentState.OPERATIONAL.value, "Operational"),
    (ComponentState.DEGRADED.value, "Degraded"),
    (ComponentState.DOWN.value, "Down"),
    (ComponentState.MAINTENANCE.value, "In maintenance"),
    (ComponentState.NO_DATA.value, "No data"),
)
# An hour that has only begun, or a minute between two aggregators, is no gap worth a word.
_WHOLE_PERCENT: Final = 99
_NAMES: Final = dict(STATE_WORDS)
_DAY_MINUTES: Final = 24 * 60
_WINDOWS: Final = {
    UptimeWindow.DAY: "24 hours",
    UptimeWindow.WEEK: "7 days",
    UptimeWindow.MONTH: "30 days",
    UptimeWindow.QUARTER: "90 days",
}


def states(board: Board | None) -> Mapping[str, object]:
    """Return what the page's facts say of components and incidents; live.js derives the same of each message."""
    if board is None:
        return {
            "overall": component_rules.overall(()).value,
            "components": {},
            "names": {"all": None},
            "incident": None,
            "billingPaused": None,
        }
    return {
        "overall": board.overall.value,
        "components": {
            report.component.value: {"state": report.state.value, "because": report.because}
            for report in board.components
        },
        "names": _names(board.components),
        "incident": _first(board.current),
        "billingPaused": board.billing_paused,
    }


def _names(components: Sequence[ComponentNow]) -> Mapping[str, str | None]:
    """Return the components' names by state, and in `all` the state that they share, if they do."""
    names: dict[str, str | None] = {}
    for component in components:
        before = names.get(component.state.value)
        names[component.state.value] = f"{before}, {component.name}" if before else component.name
    return names | {"all": next(iter(names)) if len(names) == 1 else None}


def _first(current: Sequence[Incident]) -> Mapping[str, str] | None:
    """Return the open incident that the page names first: the worst, and of equals the newest."""
    graded = [
        incident
        for incident in current
        if incident.kind is IncidentKind.INCIDENT and incident.impact is not Impact.NONE
    ]
    worst_last = tuple(Impact)
    first = max(graded, key=lambda incident: (worst_last.index(incident.impact), incident.id), default=None)
    if first is None:
        return None
    grade = "minor" if first.impact is Impact.MINOR else "major"
    return {"title": first.title, "grade": grade, "status": status_word(first.status)}


def status_word(status: str) -> str:
    return status.replace("_", " ").capitalize()


def name_of_day(day: ComponentDay) -> str:
    """Say a bar in words: '14 March: 99.93% up, 1 minute down'."""
    if day.state is ComponentState.NO_DATA:
        return f"{_date(day.date)}: no data"
    parts = [percent_up(uptime_percent(day))]
    for amount, word in ((day.down, "down"), (day.degraded, "degraded"), (day.maintenance, "in maintenance")):
        if amount:
            parts.append(f"{_minutes(amount)} {word}")
    return f"{_date(day.date)}: {', '.join(parts)}"


def bad_tenths(day: ComponentDay) -> str:
    """Return how much of a day's bar is coloured: the share of its minutes that were not operational, in tenths."""
    bad = day.recorded - day.operational
    return str(ceil(Decimal(10 * bad) / day.recorded)) if bad else ""


def percent_up(percent: Decimal | None) -> str:
    return "no uptime" if percent is None else f"{percent.normalize():f}% up"


def uptime_in_sight(report: ComponentReport, read_at: datetime) -> str:
    """Return the uptime of all 90 days; of less than a day no percentage says anything yet."""
    longest = report.uptime[-1]
    if longest.percent is None:
        return "No data yet"
    if longest.recorded_minutes < _DAY_MINUTES:
        since = read_at - timedelta(minutes=longest.recorded_minutes)
        return f"Collecting data since {since.astimezone(UTC):%H:%M} UTC"
    return f"{_percent(longest.percent)} uptime"


def uptimes_in_words(report: ComponentReport) -> str:
    return "Uptime: " + "; ".join(map(_in_words, report.uptime)) + "."


def _in_words(uptime: ComponentUptime) -> str:
    if uptime.percent is None:
        return f"{_WINDOWS[uptime.window]} no data"
    part = known_part(uptime)
    return f"{_WINDOWS[uptime.window]} {_percent(uptime.percent)}{f' ({part})' if part else ''}"


def known_part(uptime: ComponentUptime) -> str:
    """Say how much of its window a figure is of: 'of 3 hours recorded', and '' when it is of (nearly) all."""
    minutes = uptime.recorded_minutes
    if uptime.percent is None or minutes * 100 >= uptime.total_minutes * _WHOLE_PERCENT:
        return ""
    return f"of {span(60 * minutes)} recorded"


def _percent(percent: Decimal) -> str:
    return f"{percent.normalize():f}%"


def state_word(state: ComponentState) -> str:
    return _NAMES[state.value]


def _date(day: date) -> str:
    return f"{day.day} {day:%B}"


def _minutes(amount: int) -> str:
    return "1 minute" if amount == 1 else f"{amount:,} minutes"
