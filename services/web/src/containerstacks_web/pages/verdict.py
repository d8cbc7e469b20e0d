"""The one line that sums the platform up, and the rule behind it.

The rule is a list, and the first entry that applies decides. The page prints the list for its readers, with
each condition in data- attributes; the page's script evaluates that printed list when newer figures arrive.
So there is one rule, and what is explained is what decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FRESH_SECONDS_MAX: Final = 10


class Freshness(StrEnum):
    FRESH = "fresh"
    STALE = "stale"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, age_seconds: float | None) -> "Freshness":
        if age_seconds is None:
            return cls.UNKNOWN
        return cls.FRESH if age_seconds <= FRESH_SECONDS_MAX else cls.STALE


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
    """`because` is true whenever the condition is, so it explains the rule and the verdict alike."""

    condition: Equals | ShareAtLeast | Otherwise
    verdict: Verdict
    headline: str
    because: str


_ERRORS = "vps.byStatus.error"

RULES: Final = (
    Rule(
        Equals("freshness", Freshness.UNKNOWN.value),
        Verdict.UNKNOWN,
        "Nothing is known yet",
        "No figures have been read since this server started.",
    ),
    Rule(
        Equals("freshness", Freshness.STALE.value),
        Verdict.STALE,
        "The figures are out of date",
        "Nothing new has arrived. The figures in grey are the last we knew.",
    ),
    Rule(
        Equals("daemon.activeBiller", "none"),
        Verdict.PROBLEM,
        "Hourly billing is not running",
        "Neither the billing daemon nor the built-in biller is active.",
    ),
    Rule(
        ShareAtLeast(_ERRORS, "vps.total", 25),
        Verdict.PROBLEM,
        "Many VPS are in error",
        "At least a quarter of all VPS report an error.",
    ),
    Rule(
        Equals("overall", "down"),
        Verdict.PROBLEM,
        "A component is down",
        "At least one component is down, as measured or as an incident says.",
    ),
    Rule(
        Equals("billingPaused", value=True),
        Verdict.ATTENTION,
        "Billing is paused",
        "An operator has paused it. Nothing is charged until it goes on, and no hour is lost.",
    ),
    Rule(
        Equals("daemon.lastRunSuccess", value=False),
        Verdict.ATTENTION,
        "The last billing run failed",
        "It is tried again at the next run, and no hour is lost.",
    ),
    Rule(
        Equals("daemon.status", "error"),
        Verdict.ATTENTION,
        "The billing daemon reports an error",
        "It is alive, but its own last run failed.",
    ),
    Rule(
        ShareAtLeast(_ERRORS, "vps.total", 5),
        Verdict.ATTENTION,
        "Some VPS are in error",
        "At least one in twenty VPS reports an error.",
    ),
    Rule(
        Equals("daemon.warningThresholdExceeded", value=True),
        Verdict.ATTENTION,
        "The billing daemon is overdue",
        "No run of the daemon has succeeded within the last 90 minutes.",
    ),
    Rule(
        Equals("overall", "degraded"),
        Verdict.ATTENTION,
        "A component is degraded",
        "At least one component is degraded, as measured or as an incident says.",
    ),
    Rule(
        Equals("overall", "no_data"),
        Verdict.ATTENTION,
        "Components are not being watched",
        "Nothing was recorded of at least one component within the last minute."
        " After a start the first look takes half a minute.",
    ),
    Rule(
        Equals("overall", "maintenance"),
        Verdict.ATTENTION,
        "Maintenance is going on",
        "At least one component is in planned maintenance.",
    ),
    Rule(
        Otherwise(),
        Verdict.OK,
        "Everything works",
        "Figures are fresh, billing runs, and few or no VPS are in error.",
    ),
)


def decide(facts: Facts) -> Rule:
    return next(rule for rule in RULES if rule.condition.applies(facts))


def look_up(document: Facts, path: str) -> object:
    """Return what stands at a dotted path, None where the document ends before it."""
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
