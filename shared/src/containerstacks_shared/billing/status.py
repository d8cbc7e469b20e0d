"""Who bills, and how it goes: the one place that decides what the daemon's state is called."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection
from containerstacks_shared.database.locks import Role, is_held

from . import audit_records, run_records
from .control import read_pause
from .documents import ActiveBiller, AuditSummary, Biller, DaemonDetails, DaemonState, DaemonStatus, RunStatus
from .heartbeat import ROLES, STALE_AFTER
from .owed_hours import OwedHours, read_owed_hours
from .schedule import read_next_run

# A longer time without a successful run is a warning; with a long interval, interval plus half an hour.
_OVERDUE_MIN: Final = timedelta(minutes=90)
_OVERDUE_BEYOND_INTERVAL: Final = timedelta(minutes=30)
_CLOCK_SLACK: Final = timedelta(minutes=1)

_QUERIES = load(__name__, "heartbeat")


def overdue_after(interval: timedelta) -> timedelta:
    """Return for how long no run may have succeeded before that is a problem."""
    return max(_OVERDUE_MIN, interval + _OVERDUE_BEYOND_INTERVAL)


@dataclass(frozen=True)
class DaemonReading:
    """The public part as it was read. `warns_in` is how long its last success stays recent; None: it is too old."""

    status: DaemonStatus
    warns_in: timedelta | None = None

    def after(self, age: timedelta) -> DaemonStatus:
        """Return what still holds after `age`, during which the database could not be asked."""
        changes: dict[str, Any] = {}
        if age > STALE_AFTER:
            # Even the newest beat that was read is stale by now.
            changes = {
                "status": DaemonState.UNKNOWN
                if self.status.status is DaemonState.UNKNOWN
                else DaemonState.STOPPED,
                "next_scheduled_run": None,
                "uptime_minutes": None,
                "is_stale": True,
                "active_biller": ActiveBiller.NONE,
                "switching_over": False,
            }
        if self.warns_in is None or age > self.warns_in:
            changes["warning_threshold_exceeded"] = True
        return self.status.model_copy(update=changes)


async def is_daemon_alive(connection: Connection) -> bool:
    """Whether the daemon holds its lock and beats: then, and only then, the built-in biller pauses."""
    if not await is_held(connection, Role.BILLING_DAEMON):
        return False
    return any(
        row["biller"] == Biller.DAEMON and row["is_fresh"]
        for row in await connection.fetch(_QUERIES["billers"], STALE_AFTER)
    )


async def read_daemon_status(connection: Connection, *, interval: timedelta) -> DaemonStatus:
    """The public part. `interval` is what the schedule is assumed to be when the active biller does not say."""
    return (await read_daemon(connection, interval=interval)).status


async def read_daemon(connection: Connection, *, interval: timedelta) -> DaemonReading:
    """Read the public part for a caller that keeps it for a while."""
    facts = await _read_facts(connection, interval)
    return DaemonReading(DaemonStatus(**_public(facts)), _warns_in(facts))


async def read_daemon_details(
    connection: Connection, *, interval: timedelta, owed: OwedHours | None = None
) -> DaemonDetails:
    """For administrators: with money, host, and the latest runs. A caller that has read `owed` lately passes it in."""
    facts = await _read_facts(connection, interval)
    last, daemon = facts.runs.get("last"), facts.billers.get(Biller.DAEMON)
    active = facts.billers.get(facts.active.value) or daemon
    if owed is None:
        owed = await read_owed_hours(connection)
    return DaemonDetails(
        **_public(facts),
        total_amount=await connection.fetchval(_QUERIES["amount_billed"], last["id"]) if last else 0,
        total_hours=_last_runs(facts.runs).total_hours,
        failed_instances=last["instances_unpaid"] if last else 0,
        error_message=last["error_message"] if last else None,
        instance_id=active["daemon_instance_id"] if active else None,
        host=active["host"] if active else None,
        history=await run_records.recent(connection),
        hours_owed=owed.hours,
        oldest_unbilled_hour=owed.since,
        hours_unpaid=owed.hours_unpaid,
        oldest_unpaid_hour=owed.unpaid_since,
        owed_as_of=owed.read_at,
        audit=await _read_audit(connection),
    )


async def _read_audit(connection: Connection) -> AuditSummary | None:
    last = await audit_records.read_last(connection)
    if last is None:
        return None
    return AuditSummary(
        finished_at=last.finished_at,
        full=last.is_full,
        findings=last.findings_own,
        inherited=last.findings_inherited,
    )


@dataclass(frozen=True)
class LastRuns:
    """The public part of the last runs, and how many hours the last one billed."""

    last_run: datetime | None
    last_successful_run: datetime | None
    instances_billed: int
    total_hours: Decimal


async def read_last_runs(connection: Connection) -> LastRuns:
    """Read the runs alone, without reading any instance."""
    return _last_runs(await _read_runs(connection))


def _last_runs(runs: dict[str, Any]) -> LastRuns:
    last, last_successful = runs.get("last"), runs.get("last_successful")
    return LastRuns(
        last_run=last["finished_at"] if last else None,
        last_successful_run=last_successful["finished_at"] if last_successful else None,
        instances_billed=last["instances_billed"] if last else 0,
        total_hours=Decimal(last["hours_billed"]) if last else Decimal(0),
    )


async def _read_runs(connection: Connection) -> dict[str, Any]:
    return {row["which"]: row for row in await connection.fetch(_QUERIES["latest_runs"])}


@dataclass(frozen=True)
class _Facts:
    now: datetime
    billers: dict[str, Any]
    runs: dict[str, Any]
    daemon_alive: bool
    active: ActiveBiller
    next_run: datetime | None
    overdue_after: timedelta


async def _read_facts(connection: Connection, interval: timedelta) -> _Facts:
    billers = {row["biller"]: row for row in await connection.fetch(_QUERIES["billers"], STALE_AFTER)}
    alive = {
        biller: biller in billers and bool(billers[biller]["is_fresh"]) and await is_held(connection, role)
        for biller, role in (
            (Biller.DAEMON, Role.BILLING_DAEMON),
            (Biller.BUILTIN, Role.BUILTIN_BILLING),
        )
    }
    now = await connection.fetchval("select clock_now()")
    active = next((ActiveBiller(biller) for biller, yes in alive.items() if yes), ActiveBiller.NONE)
    next_run = None
    if active is not ActiveBiller.NONE and not (await read_pause(connection)).paused:
        minutes = billers[active.value]["interval_minutes"]
        scheduled = await read_next_run(
            connection, interval=timedelta(minutes=minutes) if minutes else interval
        )
        # A run that is overdue, or the first one, begins at once.
        next_run = max(scheduled.at, now) if scheduled else now
    return _Facts(
        now=now,
        billers=billers,
        runs=await _read_runs(connection),
        daemon_alive=alive[Biller.DAEMON],
        active=active,
        next_run=next_run,
        overdue_after=overdue_after(interval),
    )


def _public(facts: _Facts) -> dict[str, Any]:
    last, runs = facts.runs.get("last"), _last_runs(facts.runs)
    daemon = facts.billers.get(Biller.DAEMON)
    return {
        "status": _state(facts),
        "last_run": runs.last_run,
        "last_run_by": last["biller"] if last else None,
        "last_successful_run": runs.last_successful_run,
        "last_run_success": last["status"] == RunStatus.SUCCEEDED if last else None,
        "instances_billed": runs.instances_billed,
        "next_scheduled_run": facts.next_run,
        "uptime_minutes": (
            # A database clock that was set back since must not take the whole document along.
            max(0, int((facts.now - daemon["started_at"]) / timedelta(minutes=1)))
            if facts.daemon_alive and daemon
            else None
        ),
        "is_stale": not facts.daemon_alive,
        "warning_threshold_exceeded": _warns_in(facts) is None,
        "active_biller": facts.active,
        "switching_over": _is_switching_over(facts),
    }


def _is_switching_over(facts: _Facts) -> bool:
    """Whether a biller ended that beat moments ago. The last one to stop clears its beats."""
    return facts.active is ActiveBiller.NONE and any(
        row["is_fresh"] for biller, row in facts.billers.items() if biller in ROLES
    )


def _warns_in(facts: _Facts) -> timedelta | None:
    last = facts.runs.get("daemon_last_successful")
    if last is None:
        return None
    remaining: timedelta = last["finished_at"] + facts.overdue_after - facts.now
    # A run from the future, after a clock was set right, says nothing about the time before now.
    return remaining if timedelta(0) <= remaining <= facts.overdue_after + _CLOCK_SLACK else None


def _state(facts: _Facts) -> DaemonState:
    if Biller.DAEMON not in facts.billers:
        return DaemonState.UNKNOWN
    if not facts.daemon_alive:
        return DaemonState.STOPPED
    daemon_last = facts.runs.get("daemon_last")
    failed = daemon_last is not None and daemon_last["status"] == RunStatus.FAILED
    return DaemonState.ERROR if failed else DaemonState.RUNNING
