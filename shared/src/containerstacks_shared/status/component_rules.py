"""What makes a component operational, degraded or down.

The first condition of `health` that holds decides. Maintenance and open incidents stand above that: maintenance
replaces what is measured, an incident can only make it worse. The page and docs/status-rules.md print what stands here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Final

from . import health
from .documents import Component, ComponentState, Impact, Incident, IncidentKind, IncidentStatus, StateMinutes
from .health import Facts

# A leader looks every few seconds, a new one after half a minute; older than this, a state says nothing about now.
RECORD_LIFETIME: Final = timedelta(seconds=60)


@dataclass(frozen=True)
class Finding:
    state: ComponentState
    because: str


_WELL: Final[Mapping[Component, str]] = {
    Component.VPS: "Few or no VPS report an error.",
    Component.BILLING: "Billing runs on schedule.",
    Component.LIVE_DATA: "The counts follow every change within seconds.",
    Component.DATABASE: "The database answers at once.",
    Component.WEB: "At least one web process is connected to the database.",
}
# As they are printed: per component the first that applies decides, and the last one always does.
RULES: Final[Mapping[Component, tuple[Finding, ...]]] = {
    component: (
        *(
            Finding(condition.state, condition.sentence)
            for condition in health.CONDITIONS
            if condition.component is component
        ),
        Finding(ComponentState.OPERATIONAL, well),
    )
    for component, well in _WELL.items()
}

IMPACT_STATES: Final[Mapping[Impact, ComponentState]] = {
    Impact.NONE: ComponentState.OPERATIONAL,
    Impact.MINOR: ComponentState.DEGRADED,
    Impact.MAJOR: ComponentState.DOWN,
    Impact.CRITICAL: ComponentState.DOWN,
}

NO_DATA: Final = Finding(ComponentState.NO_DATA, "Nothing was recorded within the last minute.")

UPTIME_FORMULA: Final = (
    "100 x (operational + degraded) / (operational + degraded + down) minutes, rounded down"
)
UPTIME_NOTE: Final = (
    "Maintenance and unmonitored minutes are excluded; if no other minute is left, no figure is shown."
    " The window of 24 hours begins at a full minute, those of 7, 30 and 90 days begin at a full hour of UTC."
)
DAY_NOTE: Final = (
    "A day's bar shows the worst state of its minutes; a day without a record is shown as a day without data."
)

# What is worse stands first. Of several components without any news the overall state is unknown, not fine.
_WORST_FIRST: Final = (
    ComponentState.DOWN,
    ComponentState.DEGRADED,
    ComponentState.NO_DATA,
    ComponentState.MAINTENANCE,
    ComponentState.OPERATIONAL,
)


def measure(component: Component, facts: Facts) -> Finding:
    """Decide by what is measured alone."""
    found = (condition for condition in health.find(facts) if condition.component is component)
    worst = next(found, None)
    return RULES[component][-1] if worst is None else Finding(worst.state, worst.sentence)


def overrule(component: Component, measured: Finding, incidents: Iterable[Incident]) -> Finding:
    """Apply what administrators said: `incidents` are those that are not over."""
    about_it = [incident for incident in incidents if component in incident.components]
    for incident in about_it:
        if incident.status is IncidentStatus.IN_PROGRESS:
            return Finding(ComponentState.MAINTENANCE, f"Maintenance: {incident.title}")
    finding = measured
    for incident in about_it:
        state = IMPACT_STATES[incident.impact]
        if (
            incident.kind is IncidentKind.INCIDENT
            and not incident.status.is_over
            and _is_worse(state, finding)
        ):
            finding = Finding(state, f"Incident: {incident.title}")
    return finding


def overall(states: Iterable[ComponentState]) -> ComponentState:
    """Return the worst; without any component nothing is known."""
    present = set(states)
    return next((state for state in _WORST_FIRST if state in present), ComponentState.NO_DATA)


def state_of_day(minutes: StateMinutes) -> ComponentState:
    for state in (ComponentState.DOWN, ComponentState.DEGRADED, ComponentState.MAINTENANCE):
        if getattr(minutes, state.value) > 0:
            return state
    return ComponentState.OPERATIONAL if minutes.operational else ComponentState.NO_DATA


def uptime_percent(minutes: StateMinutes) -> Decimal | None:
    """Rounded down: one minute down in 90 days is not a hundred percent."""
    up = minutes.operational + minutes.degraded
    known = up + minutes.down
    if known == 0:
        return None
    return (Decimal(100 * up) / known).quantize(Decimal("0.001"), rounding=ROUND_DOWN)


def _is_worse(state: ComponentState, finding: Finding) -> bool:
    if state is ComponentState.OPERATIONAL:
        return False
    return _WORST_FIRST.index(state) < _WORST_FIRST.index(finding.state)
