"""What can be wrong, in one table.

The states of the components, the first line of the status page, the notices to administrators and the alerts are
views of it: none of them has a threshold, a delay or a name of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Final

from containerstacks_shared.billing.documents import ActiveBiller, DaemonState, DaemonStatus
from containerstacks_shared.billing.status import overdue_after
from containerstacks_shared.process.processes import StuckSession

from .documents import Component, ComponentState

VPS_WIDESPREAD_PERCENT: Final = 25
VPS_ELEVATED_PERCENT: Final = 5
COUNTS_FAR_BEHIND: Final = timedelta(seconds=60)
COUNTS_BEHIND: Final = timedelta(seconds=10)
DATABASE_SLOW: Final = timedelta(seconds=1)


class Kind(StrEnum):
    NOBODY_BILLS = "nobody_bills"
    BILLING_SWITCHING_OVER = "billing_switching_over"
    BILLING_PAUSED = "billing_paused"
    RUN_FAILED = "run_failed"
    DAEMON_FAILED = "daemon_failed"
    BILLING_OVERDUE = "billing_overdue"
    DAEMON_OVERDUE = "daemon_overdue"
    VPS_WIDESPREAD_ERRORS = "vps_widespread_errors"
    VPS_ELEVATED_ERRORS = "vps_elevated_errors"
    COUNTS_FAR_BEHIND = "counts_far_behind"
    COUNTS_BEHIND = "counts_behind"
    DATABASE_DOWN = "database_down"
    DATABASE_SLOW = "database_slow"
    WEB_DOWN = "web_down"
    DAMAGE_FOUND = "damage_found"
    BILLING_STALLED = "billing_stalled"
    SESSION_STUCK = "session_stuck"
    DAEMON_DOWN = "daemon_down"
    SCHEMA_CHANGED = "schema_changed"
    APPLICATION_BILLS = "application_bills"
    GUARD_INTERVENED = "guard_intervened"
    PRICE_HELD = "price_held"
    NEVER_AUDITED = "never_audited"
    DEBTS_OPEN = "debts_open"
    PLANS_UNREADABLE = "plans_unreadable"
    LOW_BALANCE = "low_balance"


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"


class AlertDelay(Enum):
    """How long a condition holds before it is an alert; settings give each delay."""

    NONE = "none"
    SERVICE = "service"
    PAUSE = "pause"
    # A fresh installation may take until its first run is overdue.
    FIRST_RUN = "first_run"


@dataclass(frozen=True)
class Facts:
    """What one check measured. The default of each value means that nothing is wrong."""

    now: datetime
    daemon: DaemonStatus
    billing_interval: timedelta
    billing_paused: bool = False
    vps_total: int = 0
    vps_error: int = 0
    counts_behind: timedelta = timedelta(0)
    aggregator_leads: bool = True
    database_answers: bool = True
    database_seconds: float = 0.0
    web_connected: bool = True
    # Hours that two runs should have billed are unbilled for no valid reason.
    billing_stalled: bool = False
    stuck_session: StuckSession | None = None
    # Of the last audit; None: there never was one.
    audit_findings: int | None = 0
    price_holds: int = 0
    # What an upgrade of the application changed under us.
    schema_changed: bool = False
    application_refused: bool = False
    guard_intervened: bool = False
    debts_open: int = 0
    plans_unreadable: int = 0
    low_balances: int = 0


@dataclass(frozen=True)
class Condition:
    """One row. `sentence` is true whenever `holds` is, so that it explains the rule and the state alike.

    A `component` gets the `state`. With a `severity` administrators are notified on their pages, and with an
    `alert_delay` by alerts, too; `recovered` is the first line of the message that it is over.
    """

    kind: Kind
    holds: Callable[[Facts], bool]
    title: str
    sentence: str
    component: Component | None = None
    state: ComponentState = ComponentState.OPERATIONAL
    severity: Severity | None = None
    alert_delay: AlertDelay | None = None
    recovered: str = ""


def _error_share(percent: int) -> Callable[[Facts], bool]:
    return lambda facts: facts.vps_total > 0 and facts.vps_error * 100 >= facts.vps_total * percent


def _somebody_should_have_billed(facts: Facts) -> bool:
    return not facts.billing_paused and facts.daemon.active_biller is not ActiveBiller.NONE


def _is_overdue(facts: Facts) -> bool:
    succeeded_at = facts.daemon.last_successful_run
    return _somebody_should_have_billed(facts) and (
        succeeded_at is None or succeeded_at < facts.now - overdue_after(facts.billing_interval)
    )


def is_daemon_overdue(daemon: DaemonStatus) -> bool:
    """Without a daemon in its whole history, an installation bills by the built-in biller on purpose."""
    return daemon.warning_threshold_exceeded and daemon.status is not DaemonState.UNKNOWN


def does_nobody_bill(daemon: DaemonStatus) -> bool:
    """Between two billers there is a moment without one; no hour waits longer because of it."""
    return daemon.active_biller is ActiveBiller.NONE and not daemon.switching_over


_DOWN, _DEGRADED = ComponentState.DOWN, ComponentState.DEGRADED

# The worst of a component first: the first that holds is its state.
CONDITIONS: Final = (
    Condition(
        Kind.NOBODY_BILLS,
        lambda facts: does_nobody_bill(facts.daemon),
        "Hourly billing is not running",
        "Neither the billing daemon nor the built-in biller is active.",
        component=Component.BILLING,
        state=_DOWN,
        severity=Severity.CRITICAL,
        alert_delay=AlertDelay.SERVICE,
        recovered="Hourly billing is running again",
    ),
    Condition(
        Kind.BILLING_PAUSED,
        lambda facts: facts.billing_paused,
        "Billing is paused",
        "An operator has paused billing. Nothing is charged until it resumes, and no hour is lost.",
        component=Component.BILLING,
        state=_DEGRADED,
        severity=Severity.WARNING,
        alert_delay=AlertDelay.PAUSE,
        recovered="Billing has resumed",
    ),
    Condition(
        Kind.RUN_FAILED,
        lambda facts: facts.daemon.last_run_success is False,
        "The last billing run failed",
        "The last run failed. The next one bills its hours too, so no hour is lost.",
        component=Component.BILLING,
        state=_DEGRADED,
        severity=Severity.WARNING,
        alert_delay=AlertDelay.NONE,
        recovered="Billing runs succeed again",
    ),
    Condition(
        Kind.DAEMON_FAILED,
        lambda facts: facts.daemon.status is DaemonState.ERROR,
        "The billing daemon reports an error",
        "The daemon is running, but its last run failed.",
        component=Component.BILLING,
        state=_DEGRADED,
        severity=Severity.WARNING,
    ),
    Condition(
        Kind.BILLING_OVERDUE,
        _is_overdue,
        "Billing is overdue",
        "No billing run has succeeded for 90 minutes, or for half an hour more than the billing interval.",
        component=Component.BILLING,
        state=_DEGRADED,
        severity=Severity.CRITICAL,
        alert_delay=AlertDelay.FIRST_RUN,
        recovered="A billing run succeeded again",
    ),
    Condition(
        Kind.DAEMON_OVERDUE,
        lambda facts: _somebody_should_have_billed(facts) and is_daemon_overdue(facts.daemon),
        "The billing daemon is overdue",
        "No run of the daemon has succeeded for 90 minutes, or for half an hour more than the billing interval.",
        component=Component.BILLING,
        state=_DEGRADED,
        severity=Severity.WARNING,
    ),
    Condition(
        Kind.VPS_WIDESPREAD_ERRORS,
        _error_share(VPS_WIDESPREAD_PERCENT),
        "Widespread VPS errors",
        f"{VPS_WIDESPREAD_PERCENT}% or more of all VPS report an error.",
        component=Component.VPS,
        state=_DOWN,
    ),
    Condition(
        Kind.VPS_ELEVATED_ERRORS,
        _error_share(VPS_ELEVATED_PERCENT),
        "Elevated VPS errors",
        f"{VPS_ELEVATED_PERCENT}% or more of all VPS report an error.",
        component=Component.VPS,
        state=_DEGRADED,
    ),
    Condition(
        Kind.COUNTS_FAR_BEHIND,
        lambda facts: facts.counts_behind > COUNTS_FAR_BEHIND,
        "The live counts are far behind",
        f"The counts have been behind for more than {COUNTS_FAR_BEHIND.seconds} seconds.",
        component=Component.LIVE_DATA,
        state=_DOWN,
    ),
    Condition(
        Kind.COUNTS_BEHIND,
        lambda facts: not facts.aggregator_leads or facts.counts_behind > COUNTS_BEHIND,
        "The live counts are behind",
        f"The counts have been behind for more than {COUNTS_BEHIND.seconds} seconds, or no stats aggregator runs.",
        component=Component.LIVE_DATA,
        state=_DEGRADED,
        severity=Severity.WARNING,
        alert_delay=AlertDelay.SERVICE,
        recovered="The live counts are up to date",
    ),
    Condition(
        Kind.DATABASE_DOWN,
        lambda facts: not facts.database_answers,
        "The database is unreachable",
        "The stats aggregator could not reach the database.",
        component=Component.DATABASE,
        state=_DOWN,
    ),
    Condition(
        Kind.DATABASE_SLOW,
        lambda facts: facts.database_seconds > DATABASE_SLOW.total_seconds(),
        "The database is slow",
        "The database took more than a second to answer.",
        component=Component.DATABASE,
        state=_DEGRADED,
    ),
    Condition(
        Kind.WEB_DOWN,
        lambda facts: not facts.web_connected,
        "The web service is disconnected",
        "No web process is connected to the database.",
        component=Component.WEB,
        state=_DOWN,
    ),
    # Of no component: it is over, or something else, within ten seconds.
    Condition(
        Kind.BILLING_SWITCHING_OVER,
        lambda facts: facts.daemon.switching_over,
        "Billing is switching over",
        "One biller stopped a moment ago, and another takes over within seconds. No hour is lost.",
    ),
    # Conditions of no component, for administrators only.
    Condition(
        Kind.DAMAGE_FOUND,
        lambda facts: bool(facts.audit_findings),
        "An audit found damage",
        "The last audit found rows that break an invariant of billing.",
        severity=Severity.CRITICAL,
        alert_delay=AlertDelay.NONE,
        recovered="The last audit found no damage",
    ),
    Condition(
        Kind.BILLING_STALLED,
        lambda facts: facts.billing_stalled,
        "Billing is stalled",
        "Hours that two scheduled runs should have billed are still unbilled for no valid reason.",
        severity=Severity.CRITICAL,
    ),
    Condition(
        Kind.SESSION_STUCK,
        lambda facts: facts.stuck_session is not None,
        "A database session is stuck",
        "A database session has been in one transaction for more than five minutes. Until it ends, no other process can"
        " bill, or fold. `containerstacks doctor` names it.",
        severity=Severity.CRITICAL,
        alert_delay=AlertDelay.NONE,
        recovered="No database session is stuck any more",
    ),
    Condition(
        Kind.DAEMON_DOWN,
        lambda facts: facts.daemon.is_stale and facts.daemon.status is not DaemonState.UNKNOWN,
        "The billing daemon is down",
        "No billing daemon is running. A web process bills instead, as long as one runs.",
        severity=Severity.WARNING,
        alert_delay=AlertDelay.SERVICE,
        recovered="The billing daemon is running again",
    ),
    Condition(
        Kind.SCHEMA_CHANGED,
        lambda facts: facts.schema_changed,
        "The application changed the database's schema",
        "Nothing is billed until `containerstacks migrate` has followed an upgrade of the application.",
        severity=Severity.CRITICAL,
        alert_delay=AlertDelay.NONE,
        recovered="The application's schema is supported again",
    ),
    Condition(
        Kind.APPLICATION_BILLS,
        lambda facts: facts.application_refused,
        "The application's own hourly billing is running",
        "The database refused hourly charges of the application in the last two hours. No hour is charged twice.",
        severity=Severity.WARNING,
        alert_delay=AlertDelay.NONE,
        recovered="The application no longer charges hours itself",
    ),
    Condition(
        Kind.GUARD_INTERVENED,
        lambda facts: facts.guard_intervened,
        "The guard intervened in the application's writes",
        "In the last day a charge of the application was given back, or one of its wallet writes mended.",
        severity=Severity.WARNING,
        alert_delay=AlertDelay.NONE,
        recovered="The guard has not intervened for a day",
    ),
    Condition(
        Kind.PRICE_HELD,
        lambda facts: facts.price_holds > 0,
        "A price is on hold",
        "Prices are negative or out of proportion; their hours wait until they are corrected or released.",
        severity=Severity.WARNING,
        alert_delay=AlertDelay.NONE,
        recovered="A price is no longer on hold",
    ),
    Condition(
        Kind.NEVER_AUDITED,
        lambda facts: facts.audit_findings is None,
        "Billing was never audited",
        "No audit of billing has finished yet.",
        severity=Severity.WARNING,
    ),
    Condition(
        Kind.DEBTS_OPEN,
        lambda facts: facts.debts_open > 0,
        "Instances have unpaid hours",
        "Instances have hours that no wallet covered.",
        severity=Severity.WARNING,
    ),
    Condition(
        Kind.PLANS_UNREADABLE,
        lambda facts: facts.plans_unreadable > 0,
        "Plans have unreadable specifications",
        "The specifications of some plans cannot be read; their resources are not counted.",
        severity=Severity.WARNING,
    ),
    Condition(
        Kind.LOW_BALANCE,
        lambda facts: facts.low_balances > 0,
        "Low balance",
        "The balance of an organization runs out soon.",
        severity=Severity.WARNING,
        alert_delay=AlertDelay.NONE,
        recovered="The balance is sufficient again",
    ),
)

BY_KIND: Final[Mapping[Kind, Condition]] = {condition.kind: condition for condition in CONDITIONS}


def find(facts: Facts) -> Iterator[Condition]:
    """Yield what is wrong, in the order of the table."""
    return (condition for condition in CONDITIONS if condition.holds(facts))
