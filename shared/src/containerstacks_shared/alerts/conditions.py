"""What is wrong, by what was read: pure functions of the facts.

No summary tells an amount of money or a price: any process sends it, also one that is not to see any.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from containerstacks_shared.billing.control import Pause
from containerstacks_shared.billing.debts import Runway
from containerstacks_shared.billing.documents import ActiveBiller, DaemonState, DaemonStatus, RunStatus
from containerstacks_shared.billing.held_plans import WaitingPlan
from containerstacks_shared.core.settings import CommonSettings
from containerstacks_shared.status.component_rules import BILLING_OVERDUE, BILLING_OVERDUE_BEYOND_INTERVAL

from .kinds import Kind
from .records import Condition, LastAudit, LastRun

# What the look at the services decides about; the runways have a look of their own.
OF_SERVICES: Final = frozenset(Kind) - {Kind.LOW_BALANCE}

_DAY_HOURS: Final = 24


@dataclass(frozen=True)
class Delays:
    """How long something is so before it is an alert."""

    service: timedelta
    pause: timedelta
    overdue: timedelta

    @classmethod
    def of(cls, settings: CommonSettings) -> "Delays":
        return cls(
            service=timedelta(minutes=settings.alert_delay_minutes),
            pause=timedelta(minutes=settings.alert_pause_minutes),
            overdue=max(BILLING_OVERDUE, settings.billing_interval + BILLING_OVERDUE_BEYOND_INTERVAL),
        )


@dataclass(frozen=True)
class Facts:
    """What one look at the services read. `counts_waited`: a change that the last look saw is not counted yet."""

    now: datetime
    daemon: DaemonStatus
    pause: Pause
    last_run: LastRun | None
    last_audit: LastAudit | None
    waiting: Sequence[WaitingPlan]
    aggregator_leads: bool
    counts_waited: bool


def find(facts: Facts, delays: Delays) -> list[Condition]:
    """What is wrong with the services and with billing."""
    return [*_billers(facts, delays), *_runs(facts, delays), *_money(facts), *_counts(facts, delays)]


def _billers(facts: Facts, delays: Delays) -> Iterator[Condition]:
    active = facts.daemon.active_biller
    if active is ActiveBiller.NONE:
        yield Condition(
            Kind.NOBODY_BILLS,
            "Neither the billing daemon nor a web process bills. Hours go on being owed; none is lost.",
            delay=delays.service,
        )
    # Where there never was a daemon, the built-in biller is how it is meant.
    if facts.daemon.is_stale and facts.daemon.status is not DaemonState.UNKNOWN:
        instead = (
            "The built-in biller of a web process bills instead."
            if active is ActiveBiller.BUILTIN
            else "Nobody bills instead."
        )
        yield Condition(Kind.DAEMON_DOWN, f"No billing daemon is alive. {instead}", delay=delays.service)


def _runs(facts: Facts, delays: Delays) -> Iterator[Condition]:
    run, succeeded_at = facts.last_run, facts.daemon.last_successful_run
    if run is not None and run.status == RunStatus.FAILED:
        yield Condition(
            Kind.RUN_FAILED,
            f"Run {run.id} of the {run.biller} biller failed: {run.error_message}. The next one tries again.",
        )
    if facts.pause.paused:
        yield Condition(
            Kind.BILLING_PAUSED,
            f"Paused by {facts.pause.changed_by}: {facts.pause.reason}. Hours go on being owed.",
            since=facts.pause.changed_at,
            delay=delays.pause,
        )
    # While nobody bills, that is what is to be told.
    elif facts.daemon.active_biller is not ActiveBiller.NONE:
        last = "Never yet" if succeeded_at is None else f"Last at {succeeded_at:%Y-%m-%d %H:%M} UTC"
        if succeeded_at is None or succeeded_at < facts.now - delays.overdue:
            yield Condition(
                Kind.BILLING_OVERDUE,
                f"{last}, although somebody bills.",
                delay=delays.overdue if succeeded_at is None else timedelta(0),
            )


def _money(facts: Facts) -> Iterator[Condition]:
    audit = facts.last_audit
    if audit is not None and audit.findings_own:
        yield Condition(
            Kind.DAMAGE_FOUND,
            f"Audit {audit.id} of {audit.finished_at:%Y-%m-%d %H:%M} UTC: {audit.findings_own} rows break an"
            " invariant of billing. `containerstacks verify` lists them.",
        )
    for plan in facts.waiting:
        yield Condition(
            Kind.PRICE_HELD,
            f"{plan.name or plan.vps_plan_id}: its price is negative or out of proportion. The hours of"
            f" {plan.instances} instances wait; correct it, or see `containerstacks billing held`.",
            subject=str(plan.vps_plan_id),
        )


def _counts(facts: Facts, delays: Delays) -> Iterator[Condition]:
    if not facts.aggregator_leads or facts.counts_waited:
        why = (
            "The stats aggregator runs, and does not keep up."
            if facts.aggregator_leads
            else "No stats aggregator runs."
        )
        yield Condition(
            Kind.COUNTS_BEHIND,
            f"{why} Pages stay true; history and uptime are not recorded.",
            delay=delays.service,
        )


def low(runways: Sequence[Runway]) -> list[Condition]:
    """Whose wallet does not last."""
    return [
        Condition(
            Kind.LOW_BALANCE,
            f"{runway.organization or runway.organization_id}: {_lasts(runway)}, {runway.instances} instances.",
            subject=str(runway.organization_id),
        )
        for runway in runways
    ]


def _lasts(runway: Runway) -> str:
    if runway.balance is None:
        return "there is no wallet"
    hours = Decimal(0) if runway.hours is None else runway.hours
    return "nothing is left" if hours == 0 else f"the balance lasts for {hours:.1f} hours"
