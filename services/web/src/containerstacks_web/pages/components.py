"""The components of the status page in words: their bars, their uptime, and the rules behind both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from containerstacks_shared.status import component_rules
from containerstacks_shared.status.component_rules import uptime_percent
from containerstacks_shared.status.documents import ComponentDay, ComponentState, ComponentUptime, Incident
from containerstacks_web.live.board import Board

from .formats import span

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


@dataclass(frozen=True)
class Told:
    """What administrators tell: what is not over, and what was lately."""

    current: Sequence[Incident]
    past: Sequence[Incident]


def states(board: Board | None) -> Mapping[str, object]:
    """Return what the page's facts say of the components, as the socket's message does."""
    if board is None:
        return {"overall": component_rules.overall(()).value, "components": {}, "billingPaused": None}
    return {
        "overall": board.overall.value,
        "components": {
            report.component.value: {"state": report.state.value, "because": report.because}
            for report in board.components
        },
        "billingPaused": board.billing_paused,
    }


def told(board: Board) -> Told:
    current = {incident.id for incident in board.current}
    return Told(
        board.current, [incident for incident in board.latest.incidents if incident.id not in current]
    )


def name_of_day(day: ComponentDay) -> str:
    """Say a bar in words: '14 March: 99.93% up, 1 minute down'."""
    if day.state is ComponentState.NO_DATA:
        return f"{_date(day.date)}: no data"
    parts = [percent_up(uptime_percent(day))]
    for amount, word in ((day.down, "down"), (day.degraded, "degraded"), (day.maintenance, "in maintenance")):
        if amount:
            parts.append(f"{_minutes(amount)} {word}")
    return f"{_date(day.date)}: {', '.join(parts)}"


def percent_up(percent: Decimal | None) -> str:
    return "no uptime" if percent is None else f"{percent.normalize():f}% up"


def known_part(uptime: ComponentUptime) -> str:
    """Say how much of its window a figure is of: 'of 3 hours known', and '' when it is of (nearly) all."""
    minutes = uptime.recorded_minutes
    if uptime.percent is None or minutes * 100 >= uptime.total_minutes * _WHOLE_PERCENT:
        return ""
    return f"of {span(60 * minutes)} known"


def state_word(state: ComponentState) -> str:
    return _NAMES[state.value]


def _date(day: date) -> str:
    return f"{day.day} {day:%B}"


def _minutes(amount: int) -> str:
    return "1 minute" if amount == 1 else f"{amount:,} minutes"
