"""Billing and the counts, as the status page and the alerts see them, and what only the doctor looks at."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from containerstacks_shared.billing import audit_records
from containerstacks_shared.billing.audit_records import AuditRecord
from containerstacks_shared.billing.control import Pause, read_pause
from containerstacks_shared.billing.documents import ActiveBiller
from containerstacks_shared.billing.guard import read_guard
from containerstacks_shared.billing.heartbeat import STALE_AFTER
from containerstacks_shared.billing.price_holds import read_waiting
from containerstacks_shared.billing.progress import progress_is_healthy, read_progress
from containerstacks_shared.billing.status import read_daemon_status
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.core.version import application_version
from containerstacks_shared.database.db import Connection
from containerstacks_shared.database.locks import Role, is_held
from containerstacks_shared.database.suitability import read_application_changes
from containerstacks_shared.process.processes import read_lag, read_stuck_session
from containerstacks_shared.status import health
from containerstacks_shared.status.health import Facts, Kind, Severity

from .findings import Finding, Level, failed, ok, warning
from .server_checks import QUERIES

_AUDIT_AGE_MAX: Final = timedelta(days=2)
_LEVELS: Final = {Severity.CRITICAL: Level.FAILED, Severity.WARNING: Level.WARNING}
# The conditions of `status/health.py` that are the doctor's business: their subject, and what to do.
_ADVICE: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.NOBODY_BILLS: (
        "biller",
        "Start the billing daemon, or a web process. If it ends again, its log says why.",
    ),
    Kind.DAEMON_DOWN: (
        "biller",
        "Start the daemon again: `systemctl status containerstacks-billing-daemon`.",
    ),
    Kind.BILLING_PAUSED: (
        "pause",
        'When the reason no longer holds: `containerstacks billing resume --reason "…"`.',
    ),
    Kind.PRICE_HELD: (
        "prices",
        "`containerstacks billing held` lists them. Correct each price, or confirm it: `billing release --plan ID`.",
    ),
    Kind.RUN_FAILED: ("last run", "`containerstacks billing runs` and the log have its error."),
    Kind.BILLING_OVERDUE: (
        "last run",
        "After a first start, wait a moment. Otherwise read the log of the active biller.",
    ),
    Kind.BILLING_STALLED: (
        "backlog",
        "The log of the active biller says why; `once` shows the error at once.",
    ),
    Kind.COUNTS_BEHIND: ("counts", "Start the aggregator, or read its log. Pages stay right meanwhile."),
    Kind.DAMAGE_FOUND: (
        "audit",
        "`containerstacks verify` names the rows; docs/operations.md says what to do.",
    ),
    Kind.NEVER_AUDITED: ("audit", "Run `containerstacks verify`."),
    Kind.SCHEMA_CHANGED: ("guard", "Run `containerstacks migrate`."),
    Kind.APPLICATION_BILLS: (
        "guard",
        "Turn hourly billing off in the application, to end its errors.",
    ),
    Kind.GUARD_INTERVENED: (
        "guard",
        "Nothing was lost. Turn hourly billing off in the application.",
    ),
}


async def services(connection: Connection, settings: BillingSettings) -> list[Finding]:
    """Look at what the status page and the alerts look at, and say of each subject what they would."""
    guard = await read_guard(connection)
    pause = await read_pause(connection)
    audit = await audit_records.read_last(connection)
    progress = await read_progress(connection, interval=settings.billing_interval)
    lag = await read_lag(connection)
    now = await connection.fetchval("select clock_now()")
    facts = Facts(
        now=now,
        daemon=await read_daemon_status(connection, interval=settings.billing_interval),
        billing_interval=settings.billing_interval,
        billing_paused=pause.paused,
        billing_stalled=not progress_is_healthy(progress),
        counts_behind=timedelta(0) if lag.since is None else now - lag.since,
        aggregator_leads=await is_held(connection, Role.STATS_AGGREGATOR),
        audit_findings=None if audit is None else audit.findings_own,
        price_holds=len(await read_waiting(connection)),
        schema_changed=await read_application_changes(connection) is not None,
        application_refused=guard.refused_lately,
        guard_intervened=guard.intervened_lately,
    )
    found = [_finding(condition, pause) for condition in health.find(facts) if condition.kind in _ADVICE]
    if not guard.is_on:
        found.append(
            failed(
                "guard",
                "the guard is off: the application's own biller may charge hours that ours charges",
                "`alter database … reset containerstacks.guard`.",
            )
        )
    stuck = await read_stuck_session(connection)
    if stuck is not None:
        found.append(failed("sessions", stuck.summary, stuck.remedy))
    if audit is not None and audit.is_clean and now - audit.finished_at > _AUDIT_AGE_MAX:
        found.append(
            warning(
                "audit",
                f"the last one was at {audit.finished_at:%Y-%m-%d %H:%M} UTC",
                "The active biller should audit daily: its log says why it did not.",
            )
        )
    wrong = {finding.subject for finding in found}
    owed = progress.owed
    well = _well(facts, audit) | {
        "backlog": f"hours due: {owed.hours}; of these, {owed.hours_unpaid} wait for money"
    }
    return found + [ok(subject, text) for subject, text in well.items() if subject not in wrong]


def _finding(condition: health.Condition, pause: Pause) -> Finding:
    subject, advice = _ADVICE[condition.kind]
    assert condition.severity is not None, "administrators are notified of it"
    # The reason is free text.
    reason = f"{pause.changed_by}: {pause.reason}" if condition.kind is Kind.BILLING_PAUSED else ""
    return Finding(subject, _LEVELS[condition.severity], condition.sentence.removesuffix("."), advice, reason)


def _well(facts: Facts, audit: AuditRecord | None) -> dict[str, str]:
    is_daemon = facts.daemon.active_biller is ActiveBiller.DAEMON
    return {
        "biller": f"{'the billing daemon' if is_daemon else 'the built-in biller of web'} bills",
        "last run": _moment("succeeded", facts.daemon.last_successful_run),
        "prices": "none is on hold",
        "counts": "the stats aggregator keeps up",
        "audit": _moment("clean", None if audit is None else audit.finished_at),
        "guard": "it keeps the application's own biller out, which has not tried lately",
    }


def _moment(what: str, at: datetime | None) -> str:
    return "none yet" if at is None else f"{what} at {at:%Y-%m-%d %H:%M} UTC"


async def versions(connection: Connection, settings: BillingSettings) -> list[Finding]:
    billers = await connection.fetch(QUERIES["billers"], STALE_AFTER)
    found = [
        warning(
            "versions",
            f"the {row['biller']} biller runs {row['version']}, and this command is {application_version()}",
            "Restart what still runs the other release (docs/operations.md).",
        )
        for row in billers
        if row["version"] != application_version()
    ]
    intervals = {row["interval_minutes"] for row in billers if row["interval_minutes"] is not None}
    if intervals - {settings.billing_interval_minutes}:
        found.append(
            warning(
                "versions",
                f"a biller goes by an interval of {', '.join(map(str, sorted(intervals)))} minutes,"
                f" and BILLING_INTERVAL_MINUTES is {settings.billing_interval_minutes} here",
                "Set the same value for daemon, web and aggregator: thresholds follow from it.",
            )
        )
    return found or [ok("versions", f"{application_version()} everywhere that can be seen")]
