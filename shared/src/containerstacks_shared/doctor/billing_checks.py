"""Billing and the counts: who does the work, whether it gets on, and what the last audit found."""

from datetime import timedelta
from typing import Final

from containerstacks_shared.billing import audit_records
from containerstacks_shared.billing.control import read_pause
from containerstacks_shared.billing.documents import ActiveBiller, DaemonState, DaemonStatus
from containerstacks_shared.billing.guard import read_guard
from containerstacks_shared.billing.heartbeat import STALE_AFTER
from containerstacks_shared.billing.progress import progress_is_healthy, read_progress
from containerstacks_shared.billing.status import read_daemon_status
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.core.version import application_version
from containerstacks_shared.database.db import Connection
from containerstacks_shared.database.locks import Role, is_held
from containerstacks_shared.process.processes import read_lag

from .findings import Finding, failed, ok, warning
from .server_checks import QUERIES

_AUDIT_AGE_MAX: Final = timedelta(days=2)
_LAG_MAX: Final = timedelta(minutes=1)
_REFUSED_LATELY: Final = timedelta(days=1)


async def who_bills(connection: Connection, settings: BillingSettings) -> list[Finding]:
    pause = await read_pause(connection)
    status = await read_daemon_status(connection, interval=settings.billing_interval)
    found = [_biller(status)]
    if pause.paused:
        since = "" if pause.changed_at is None else f" since {pause.changed_at:%Y-%m-%d %H:%M} UTC"
        found.append(
            warning(
                "pause",
                f"billing is paused{since}; hours go on being owed",
                'When its reason is gone: `containerstacks billing resume --reason "…"`.',
                detail=f"{pause.changed_by}: {pause.reason}",
            )
        )
    if status.last_run_success is False:
        found.append(
            failed(
                "last run",
                "the last run failed",
                "`containerstacks billing runs` has its error; so has the log.",
            )
        )
    elif status.last_successful_run is None:
        found.append(warning("last run", "none has succeeded yet", "Wait a moment, or run `once`."))
    else:
        found.append(ok("last run", f"succeeded at {status.last_successful_run:%Y-%m-%d %H:%M} UTC"))
    return found


def _biller(status: DaemonStatus) -> Finding:
    if status.active_biller is ActiveBiller.NONE:
        return failed(
            "biller",
            "nobody bills; hours go on being owed",
            "Start the billing daemon, or a web process; their logs say why one does not stay.",
        )
    if status.active_biller is ActiveBiller.BUILTIN and status.status is not DaemonState.UNKNOWN:
        return warning(
            "biller",
            "no billing daemon is alive, and a web process bills instead",
            "Start the daemon again: `systemctl status containerstacks-billing-daemon`.",
        )
    kind = "the billing daemon" if status.active_biller is ActiveBiller.DAEMON else "web's built-in biller"
    return ok("biller", f"{kind} bills")


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
                "Set it alike for daemon, web and aggregator: thresholds follow from it.",
            )
        )
    return found or [ok("versions", f"{application_version()} everywhere that can be seen")]


async def backlog(connection: Connection, settings: BillingSettings) -> list[Finding]:
    progress = await read_progress(connection, interval=settings.billing_interval)
    owed = progress.owed
    text = f"{owed.hours} hours are due, {owed.hours_unpaid} of them wait for money"
    if not progress_is_healthy(progress):
        return [
            failed(
                "backlog",
                f"hours since {progress.stalled_since:%Y-%m-%d %H:%M} UTC wait for nobody but the biller; {text}",
                "The log of whoever bills says why; `once` shows it at the keyboard.",
            )
        ]
    return [ok("backlog", text)]


async def counts(connection: Connection, _settings: BillingSettings) -> list[Finding]:
    lag = await read_lag(connection)
    now = await connection.fetchval("select clock_now()")
    if not await is_held(connection, Role.STATS_AGGREGATOR):
        return [
            warning(
                "counts",
                f"no stats aggregator runs; {lag.deltas} changes wait to be counted",
                "Start it: pages stay true without it, history and uptime do not.",
            )
        ]
    if lag.since is not None and now - lag.since > _LAG_MAX:
        minutes = (now - lag.since).total_seconds() / 60
        return [
            warning(
                "counts",
                f"the oldest of {lag.deltas} changes has waited for {minutes:.0f} minutes to be counted",
                "Read the aggregator's log.",
            )
        ]
    return [ok("counts", "the stats aggregator keeps up")]


async def audit(connection: Connection, _settings: BillingSettings) -> list[Finding]:
    last = await audit_records.read_last(connection)
    if last is None:
        return [warning("audit", "the money has not been audited yet", "Run `containerstacks verify`.")]
    at = f"{last.finished_at:%Y-%m-%d %H:%M} UTC"
    if not last.is_clean:
        return [
            failed(
                "audit",
                f"the audit of {at} found {last.findings_own} rows that break an invariant",
                "`containerstacks verify` names them; docs/operations.md says what to do.",
            )
        ]
    if await connection.fetchval("select clock_now()") - last.finished_at > _AUDIT_AGE_MAX:
        return [
            warning(
                "audit",
                f"the last one was at {at}",
                "Whoever bills should audit daily: its log says why not.",
            )
        ]
    return [ok("audit", f"clean at {at}")]


async def guard(connection: Connection, _settings: BillingSettings) -> list[Finding]:
    """Whether the database keeps the application's own biller out."""
    found = await read_guard(connection)
    if not found.is_on:
        return [
            failed(
                "guard",
                "the guard is off: the application's own biller may charge hours that ours charges",
                "`alter database … reset containerstacks.guard`.",
            )
        ]
    if found.refused_at is not None and found.read_at - found.refused_at < _REFUSED_LATELY:
        return [
            warning(
                "guard",
                f"it refused a charge of the application's own biller within a day; {found.refused} in all",
                "Nothing is charged twice. Turn that biller off in the application, to be rid of its errors.",
            )
        ]
    return [ok("guard", "it keeps the application's own biller out, which has not tried within a day")]
