"""What needs an administrator: the conditions of `health` that hold, the critical ones first."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from containerstacks_shared.billing.documents import RunStatus
from containerstacks_shared.status import health
from containerstacks_shared.status.health import Facts, Kind, Severity


class Mood(StrEnum):
    OK = "ok"
    ATTENTION = "attention"
    PROBLEM = "problem"


_MOODS: Final[Mapping[Severity, Mood]] = {Severity.CRITICAL: Mood.PROBLEM, Severity.WARNING: Mood.ATTENTION}
# The page, or the section of the overview, that has more about a condition.
_PLACES: Final[Mapping[Kind, str]] = {
    Kind.APPLICATION_BILLS: "#guard",
    Kind.GUARD_INTERVENED: "#guard",
    Kind.BILLING_PAUSED: "/admin/billing",
    Kind.BILLING_STALLED: "#hours",
    Kind.COUNTS_BEHIND: "#lag",
    Kind.DAMAGE_FOUND: "#audit",
    Kind.DEBTS_OPEN: "/admin/debts",
    Kind.NEVER_AUDITED: "#audit",
    Kind.PLANS_UNREADABLE: "#plans",
    Kind.PRICE_HELD: "/admin/billing",
    Kind.RUN_FAILED: f"/admin/runs?outcome={RunStatus.FAILED}",
}


@dataclass(frozen=True)
class Notice:
    mood: Mood
    sentence: str
    href: str | None = None


def notices(facts: Facts) -> list[Notice]:
    """Say what is wrong; when nothing is, say that."""
    found = [
        Notice(_MOODS[condition.severity], condition.sentence, _PLACES.get(condition.kind))
        for severity in Severity
        for condition in health.find(facts)
        if condition.severity is severity
    ]
    return found or [Notice(Mood.OK, "Nothing needs your attention.")]
