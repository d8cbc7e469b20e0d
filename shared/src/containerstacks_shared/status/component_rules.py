"""What makes a component operational, degraded or down: the one place that says so.

Per component there is a list of rules, and the first that applies decides. Maintenance and open incidents stand
above the lists: maintenance replaces what is measured, an incident can only make it worse. The page and
docs/status-rules.md print what stands here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Final

from containerstacks_shared.billing.documents import ActiveBiller

from .documents import Component, ComponentState, Impact, Incident, IncidentKind, IncidentStatus, StateMinutes

VPS_DOWN_PERCENT: Final = 25
VPS_DEGRADED_PERCENT: Final = 5
BILLING_OVERDUE: Final = timedelta(minutes=90)
BILLING_OVERDUE_BEYOND_INTERVAL: Final = timedelta(minutes=30)
COUNTS_DOWN: Final = timedelta(seconds=60)
COUNTS_DEGRADED: Final = timedelta(seconds=10)
DATABASE_SLOW: Final = timedelta(seconds=1)

# A leader looks every few seconds, a new one after half a minute; older than this, a state says nothing about now.
RECORD_LIFETIME: Final = timedelta(seconds=60)


@dataclass(frozen=True)
class Facts:
    """What is measured. A `billing_age` of None: no run ever succeeded."""

    vps_total: int = 0
    vps_error: int = 0
    active_biller: ActiveBiller = ActiveBiller.NONE
    billing_paused: bool = False
    last_run_success: bool | None = None
    billing_age: timedelta | None = None
    billing_interval: timedelta = timedelta(hours=1)
    counts_behind: timedelta = timedelta(0)
    database_answers: bool = True
    database_seconds: float = 0.0
    web_connected: bool = False


@dataclass(frozen=True)
class Rule:
    """`because` is true whenever `applies` is, so that it explains the rule and the state alike."""

    state: ComponentState
    because: str
    applies: Callable[[Facts], bool]


@dataclass(frozen=True)
class Finding:
    state: ComponentState
    because: str


def _error_share(percent: int) -> Callable[[Facts], bool]:
    return lambda facts: facts.vps_total > 0 and facts.vps_error * 100 >= facts.vps_total * percent


def _is_overdue(facts: Facts) -> bool:
    limit = max(BILLING_OVERDUE, facts.billing_interval + BILLING_OVERDUE_BEYOND_INTERVAL)
    return facts.billing_age is None or facts.billing_age > limit


def _otherwise(because: str) -> Rule:
    return Rule(ComponentState.OPERATIONAL, because, lambda _: True)


RULES: Final[Mapping[Component, tuple[Rule, ...]]] = {
    Component.VPS: (
        Rule(
            ComponentState.DOWN,
            f"{VPS_DOWN_PERCENT} % or more of all VPS report an error.",
            _error_share(VPS_DOWN_PERCENT),
        ),
        Rule(
            ComponentState.DEGRADED,
            f"{VPS_DEGRADED_PERCENT} % or more of all VPS report an error.",
            _error_share(VPS_DEGRADED_PERCENT),
        ),
        _otherwise("Few or no VPS report an error."),
    ),
    Component.BILLING: (
        Rule(
            ComponentState.DOWN,
            "Neither the billing daemon nor the built-in biller is active.",
            lambda facts: facts.active_biller is ActiveBiller.NONE,
        ),
        Rule(
            ComponentState.DEGRADED,
            "An operator has paused billing; hours go on being owed.",
            lambda facts: facts.billing_paused,
        ),
        Rule(
            ComponentState.DEGRADED,
            "The last billing run failed; no hour is lost.",
            lambda facts: facts.last_run_success is False,
        ),
        Rule(
            ComponentState.DEGRADED,
            "No billing run has succeeded for 90 minutes, or for half an hour more than the billing interval.",
            _is_overdue,
        ),
        _otherwise("Billing runs on schedule."),
    ),
    Component.LIVE_DATA: (
        Rule(
            ComponentState.DOWN,
            f"The counts have been behind for more than {COUNTS_DOWN.seconds} seconds.",
            lambda facts: facts.counts_behind > COUNTS_DOWN,
        ),
        Rule(
            ComponentState.DEGRADED,
            f"The counts have been behind for more than {COUNTS_DEGRADED.seconds} seconds.",
            lambda facts: facts.counts_behind > COUNTS_DEGRADED,
        ),
        _otherwise("The counts follow every change within seconds."),
    ),
    Component.DATABASE: (
        Rule(
            ComponentState.DOWN,
            "The stats aggregator could not reach the database.",
            lambda facts: not facts.database_answers,
        ),
        Rule(
            ComponentState.DEGRADED,
            "The database took more than a second to answer.",
            lambda facts: facts.database_seconds > DATABASE_SLOW.total_seconds(),
        ),
        _otherwise("The database answers at once."),
    ),
    Component.WEB: (
        Rule(
            ComponentState.DOWN,
            "No web process is connected to the database.",
            lambda facts: not facts.web_connected,
        ),
        _otherwise("At least one web process is connected to the database."),
    ),
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
    "Minutes of maintenance and minutes without a record count on neither side; without any other minute there is"
    " no figure. 24 hours are counted back to the minute, 7, 30 and 90 days to the full hour of UTC."
)
DAY_NOTE: Final = (
    "A day's bar shows the worst state of its minutes; a day without a record shows that it has no data."
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
    """Decide by the component's rules alone."""
    rule = next(rule for rule in RULES[component] if rule.applies(facts))
    return Finding(rule.state, rule.because)


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
