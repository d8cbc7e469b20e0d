"""What there are alerts about."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    NOBODY_BILLS = "nobody_bills"
    DAEMON_DOWN = "daemon_down"
    RUN_FAILED = "run_failed"
    BILLING_OVERDUE = "billing_overdue"
    BILLING_PAUSED = "billing_paused"
    DAMAGE_FOUND = "damage_found"
    PRICE_HELD = "price_held"
    COUNTS_BEHIND = "counts_behind"
    LOW_BALANCE = "low_balance"


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True)
class About:
    """The first line of a message, when it begins and when it is over."""

    severity: Severity
    title: str
    over: str


ABOUT: Final[Mapping[Kind, About]] = {
    Kind.NOBODY_BILLS: About(Severity.CRITICAL, "Nobody bills", "Somebody bills again"),
    Kind.DAEMON_DOWN: About(Severity.WARNING, "The billing daemon is down", "The billing daemon is back"),
    Kind.RUN_FAILED: About(Severity.WARNING, "A billing run failed", "Billing runs succeed again"),
    Kind.BILLING_OVERDUE: About(
        Severity.CRITICAL, "No billing run has succeeded in time", "A billing run succeeded again"
    ),
    Kind.BILLING_PAUSED: About(Severity.WARNING, "Billing is still paused", "Billing goes on"),
    Kind.DAMAGE_FOUND: About(Severity.CRITICAL, "An audit found damage", "The last audit found no damage"),
    Kind.PRICE_HELD: About(Severity.WARNING, "A price is held back", "A price is not held any more"),
    Kind.COUNTS_BEHIND: About(
        Severity.WARNING, "The live counts are behind", "The live counts are up to date"
    ),
    Kind.LOW_BALANCE: About(Severity.WARNING, "Low balance", "Low balance is over"),
}
