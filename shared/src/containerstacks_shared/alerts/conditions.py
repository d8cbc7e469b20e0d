"""Which conditions of the table are alerts now, and the text of each.

No summary contains an amount of money or a price: any process sends it, also one that may not see amounts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from containerstacks_shared.billing.control import Pause
from containerstacks_shared.billing.debts import Runway
from containerstacks_shared.billing.documents import ActiveBiller, RunStatus
from containerstacks_shared.billing.price_holds import WaitingPlan
from containerstacks_shared.billing.status import overdue_after
from containerstacks_shared.core.lines import counted
from containerstacks_shared.core.settings import CommonSettings
from containerstacks_shared.status import health
from containerstacks_shared.status.health import AlertDelay, Facts, Kind

from .records import Condition, LastAudit, LastRun

# What the look at the services decides about; the runways have a look of their own.
OF_SERVICES: Final = frozenset(
    condition.kind for condition in health.CONDITIONS if condition.alert_delay is not None
) - {Kind.LOW_BALANCE}


@dataclass(frozen=True)
class Delays:
    """How long a condition must hold before it is an alert."""

    service: timedelta
    pause: timedelta
    first_run: timedelta

    @classmethod
    def of(cls, settings: CommonSettings) -> "Delays":
        return cls(
            service=timedelta(minutes=settings.alert_delay_minutes),
            pause=timedelta(minutes=settings.alert_pause_minutes),
            first_run=overdue_after(settings.billing_interval),
        )

    def before(self, delay: AlertDelay, facts: Facts) -> timedelta:
        match delay:
            case AlertDelay.NONE:
                return timedelta(0)
            case AlertDelay.SERVICE:
                return self.service
            case AlertDelay.PAUSE:
                return self.pause
            case AlertDelay.FIRST_RUN:
                return self.first_run if facts.daemon.last_successful_run is None else timedelta(0)


@dataclass(frozen=True)
class Details:
    """What messages say beyond the facts."""

    pause: Pause
    last_run: LastRun | None
    last_audit: LastAudit | None
    waiting: Sequence[WaitingPlan]


@dataclass(frozen=True)
class _Said:
    summary: str
    subject: str = ""
    since: datetime | None = None


def find(facts: Facts, details: Details, delays: Delays) -> list[Condition]:
    """Return the conditions of services and billing."""
    return [
        Condition(
            found.kind,
            said.summary,
            subject=said.subject,
            since=said.since,
            delay=delays.before(found.alert_delay, facts),
        )
        for found in health.find(facts)
        if found.alert_delay is not None and found.kind in OF_SERVICES
        for said in _say(found, facts, details)
    ]


def _say(found: health.Condition, facts: Facts, details: Details) -> Iterator[_Said]:
    match found.kind:
        case Kind.RUN_FAILED:
            run = details.last_run
            # A run that was interrupted by a stop is not worth an alert.
            if run is not None and run.status == RunStatus.FAILED:
                yield _Said(
                    f"Run {run.id} of the {run.biller} biller failed: {run.error_message}."
                    " The next one bills its hours too, so no hour is lost."
                )
        case Kind.BILLING_PAUSED:
            pause = details.pause
            yield _Said(
                f"Paused by {pause.changed_by}: {pause.reason}. Hours stay due, and no hour is lost.",
                since=pause.changed_at,
            )
        case Kind.BILLING_OVERDUE:
            at = facts.daemon.last_successful_run
            last = "None has succeeded yet" if at is None else f"The last one was at {at:%Y-%m-%d %H:%M} UTC"
            yield _Said(f"{found.sentence} {last}.")
        case Kind.DAEMON_DOWN:
            is_replaced = facts.daemon.active_biller is ActiveBiller.BUILTIN
            instead = "The built-in biller of a web process bills" if is_replaced else "Nobody bills"
            yield _Said(f"No billing daemon is running. {instead} instead.")
        case Kind.DAMAGE_FOUND:
            audit = details.last_audit
            assert audit is not None, "it has findings"
            yield _Said(
                f"Audit {audit.id} of {audit.finished_at:%Y-%m-%d %H:%M} UTC found"
                f" {counted(audit.findings_own, 'row')} against the invariants of billing."
                " `containerstacks verify` lists them."
            )
        case Kind.SESSION_STUCK:
            yield _stuck(facts)
        case Kind.PRICE_HELD:
            yield from map(_held, details.waiting)
        case Kind.COUNTS_BEHIND:
            why = (
                "The stats aggregator is running but does not keep up."
                if facts.aggregator_leads
                else "No stats aggregator is running."
            )
            yield _Said(f"{why} Pages stay right; history and uptime are not recorded.")
        case _:
            yield _Said(found.sentence)


def _held(plan: WaitingPlan) -> _Said:
    return _Said(
        f"{plan.name or plan.vps_plan_id}: its price is negative or out of proportion. The hours of"
        f" {counted(plan.instances, 'instance')} wait; correct it, or see `containerstacks billing held`.",
        subject=str(plan.vps_plan_id),
    )


def _stuck(facts: Facts) -> _Said:
    session = facts.stuck_session
    assert session is not None, "the condition holds"
    return _Said(f"It is {session.summary}. {session.remedy}", subject=str(session.pid))


def low(runways: Sequence[Runway]) -> list[Condition]:
    """Return the organizations with a low balance."""
    return [
        Condition(
            Kind.LOW_BALANCE,
            f"{runway.organization or runway.organization_id}: {_lasts(runway)},"
            f" {counted(runway.instances, 'instance')}.",
            subject=str(runway.organization_id),
        )
        for runway in runways
    ]


def _lasts(runway: Runway) -> str:
    if runway.balance is None:
        return "there is no wallet"
    hours = Decimal(0) if runway.hours is None else runway.hours
    return "nothing is left" if hours == 0 else f"the balance lasts for {hours:.1f} hours"
