"""The one line that sums the platform up, and the rule behind it.

The rule is a list: the first entry that applies decides. The page prints the list for its readers, with
each condition in data- attributes; the page's script evaluates that printed list when newer figures arrive.
So there is one rule, and what is explained is what decides. An open incident gives the headline its title.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from containerstacks_shared.status import health
from containerstacks_shared.status.documents import Component, ComponentState
from containerstacks_shared.status.health import Kind
from containerstacks_web.live.freshness import Freshness
from containerstacks_web.rendering.formats import number

_PATHS: Final = re.compile(r"\{([^}]+)\}")


class Verdict(StrEnum):
    OK = "ok"
    ATTENTION = "attention"
    PROBLEM = "problem"
    STALE = "stale"
    UNKNOWN = "unknown"


# The status document, with `freshness` and the board's facts beside `vps` and `daemon`.
Facts = Mapping[str, object]


@dataclass(frozen=True)
class Equals:
    path: str
    value: str | bool

    def applies(self, facts: Facts) -> bool:
        return look_up(facts, self.path) == self.value

    @property
    def attributes(self) -> dict[str, str]:
        return {"data-path": self.path, "data-is": as_case(self.value)}


@dataclass(frozen=True)
class ShareAtLeast:
    """`percent` or more of the whole. Of nothing there is no share."""

    path: str
    whole: str
    percent: int

    def applies(self, facts: Facts) -> bool:
        part, whole = look_up(facts, self.path), look_up(facts, self.whole)
        if not isinstance(part, int) or not isinstance(whole, int) or whole == 0:
            return False
        return part * 100 >= whole * self.percent

    @property
    def attributes(self) -> dict[str, str]:
        return {"data-path": self.path, "data-percent-of": self.whole, "data-percent-min": str(self.percent)}


@dataclass(frozen=True)
class Otherwise:
    def applies(self, _facts: Facts) -> bool:
        return True

    @property
    def attributes(self) -> dict[str, str]:
        return {"data-otherwise": ""}


@dataclass(frozen=True)
class Rule:
    """`because` is true whenever the condition is, so it explains the rule and the verdict alike.

    `headline_now` and `because_now` name what they are about by paths in braces: '{vps.total} VPS'. They stand above
    the page where each of their paths has a value; elsewhere, and in the printed list, the plain ones do.
    """

    condition: Equals | ShareAtLeast | Otherwise
    verdict: Verdict
    headline: str
    because: str
    headline_now: str = ""
    because_now: str = ""

    def headline_for(self, facts: Facts) -> str:
        return _filled(self.headline_now, facts) or self.headline

    def because_for(self, facts: Facts) -> str:
        return _filled(self.because_now, facts) or self.because


_ERRORS = "vps.byStatus.error"
_ERRORS_NOW = "{vps.byStatus.error} of {vps.total} VPS report an error."
_INCIDENT_NOW = "{incident.status}. The latest update is below."

# Where the status document says that a condition holds: these have headlines of their own, and newer than the states of
# the components, which are measured every ten seconds and only while an aggregator runs.
_SEEN: Final[Mapping[Kind, Equals | ShareAtLeast]] = {
    Kind.NOBODY_BILLS: Equals("nobodyBills", value=True),
    Kind.BILLING_SWITCHING_OVER: Equals("switchingOver", value=True),
    Kind.BILLING_PAUSED: Equals("billingPaused", value=True),
    Kind.RUN_FAILED: Equals("daemon.lastRunSuccess", value=False),
    Kind.DAEMON_FAILED: Equals("daemon.status", "error"),
    Kind.DAEMON_OVERDUE: Equals("daemonOverdue", value=True),
    Kind.VPS_WIDESPREAD_ERRORS: ShareAtLeast(_ERRORS, "vps.total", health.VPS_WIDESPREAD_PERCENT),
    Kind.VPS_ELEVATED_ERRORS: ShareAtLeast(_ERRORS, "vps.total", health.VPS_ELEVATED_PERCENT),
}


def _measured(state: ComponentState, verdict: Verdict) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            _SEEN[condition.kind],
            verdict,
            condition.title,
            condition.sentence,
            because_now=_ERRORS_NOW if condition.component is Component.VPS else "",
        )
        for condition in health.CONDITIONS
        if condition.state is state and condition.kind in _SEEN
    )


RULES: Final = (
    Rule(
        Equals("freshness", Freshness.UNKNOWN.value),
        Verdict.UNKNOWN,
        "Status is not known yet",
        "No figures have been read since this server started.",
    ),
    Rule(
        Equals("freshness", Freshness.STALE.value),
        Verdict.STALE,
        "Status is delayed",
        "No new figures have arrived. Those in grey are the last known.",
    ),
    Rule(
        Equals("incident.grade", "major"),
        Verdict.PROBLEM,
        "Major outage",
        "An incident of major or critical impact is open.",
        headline_now="Major outage: {incident.title}",
        because_now=_INCIDENT_NOW,
    ),
    *_measured(ComponentState.DOWN, Verdict.PROBLEM),
    Rule(
        Equals("names.all", "down"),
        Verdict.PROBLEM,
        "Major outage",
        "All components are down.",
    ),
    Rule(
        Equals("overall", "down"),
        Verdict.PROBLEM,
        "Partial outage",
        "At least one component is down.",
        headline_now="Partial outage: {names.down}",
    ),
    Rule(
        Equals("incident.grade", "minor"),
        Verdict.ATTENTION,
        "Minor incident",
        "An incident of minor impact is open.",
        headline_now="Minor incident: {incident.title}",
        because_now=_INCIDENT_NOW,
    ),
    *_measured(ComponentState.DEGRADED, Verdict.ATTENTION),
    Rule(
        Equals("overall", "degraded"),
        Verdict.ATTENTION,
        "Degraded performance",
        "At least one component is degraded.",
        headline_now="Degraded performance: {names.degraded}",
    ),
    Rule(
        Equals("overall", "no_data"),
        Verdict.ATTENTION,
        "Monitoring is interrupted",
        "At least one component was not measured within the last minute."
        " After a start the first measurement takes half a minute.",
    ),
    Rule(
        Equals("overall", "maintenance"),
        Verdict.ATTENTION,
        "Maintenance in progress",
        "At least one component is in planned maintenance.",
        because_now="In planned maintenance: {names.maintenance}.",
    ),
    *_measured(ComponentState.OPERATIONAL, Verdict.ATTENTION),
    Rule(
        Otherwise(),
        Verdict.OK,
        "All systems operational",
        "Figures are fresh, billing runs on schedule, and few or no VPS report an error.",
    ),
)


def decide(facts: Facts) -> Rule:
    return next(rule for rule in RULES if rule.condition.applies(facts))


def _filled(template: str, facts: Facts) -> str:
    """Return '' where a path of the template has no value."""
    values = {path: look_up(facts, path) for path in _PATHS.findall(template)}
    if any(value in (None, "") for value in values.values()):
        return ""
    texts = {path: number(value) if isinstance(value, int) else str(value) for path, value in values.items()}
    return _PATHS.sub(lambda found: texts[found[1]], template)


def look_up(document: Facts, path: str) -> object:
    """Return the value at a dotted path, None where there is none."""
    value: object = document
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def as_case(value: object) -> str:
    """Write a value as attributes and scripts compare it: JavaScript's `String`, and '' for no value."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case _:
            return str(value)
