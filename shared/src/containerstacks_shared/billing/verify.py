"""Prove the billing invariants on the rows themselves, or name each row that breaks one.

A few passes over the rows in question find suspects by sums; whether a suspect breaks an invariant is then decided row
by row. `Scope` says which rows are in question: all of them, or those since the last clean audit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from .audit_records import CleanAudit
from .rates_by_history import PriceHistory, Rate, Reference, read_price_history

_QUERIES = load(__name__)
_SUSPECTS = load(__name__, "suspects")
_INSTANCES = load(__name__, "verify_instances")
_RUNS = load(__name__, "verify_runs")
_ENTRIES = load(__name__, "verify_entries")
_LEDGER = load(__name__, "verify_ledger")
_STATE = load(__name__, "verify_state")
_INHERITED = load(__name__, "verify_inherited")
# An audit reads history; the ordinary limit is for queries that people wait for.
_TIMEOUT_SECONDS = 4 * 3600.0
_BEFORE_EVERYTHING: Final = -(2**63)
# Triggers and defaults write the time at which their transaction began, which may be long before it committed.
_TRANSACTION_MAX: Final = timedelta(days=1)


class Severity(StrEnum):
    """`own`: an invariant of ours is broken. `inherited`: the damage is another biller's."""

    OWN = "own"
    INHERITED = "inherited"


@dataclass(frozen=True)
class Finding:
    """One offending row: which check found it, the row's id, and what is wrong with it."""

    check: str
    key: str
    detail: str
    severity: Severity = Severity.OWN


@dataclass(frozen=True)
class Scope:
    """Which rows are in question: those with greater ids, written since."""

    after_run: int
    after_ledger_entry: int
    after_correction: int
    since: datetime
    tying_run: int
    is_full: bool

    @classmethod
    def everything(cls) -> Self:
        return cls(
            after_run=_BEFORE_EVERYTHING,
            after_ledger_entry=_BEFORE_EVERYTHING,
            after_correction=_BEFORE_EVERYTHING,
            since=datetime.min.replace(tzinfo=UTC),
            tying_run=_BEFORE_EVERYTHING,
            is_full=True,
        )

    @classmethod
    def since_audit(cls, audit: CleanAudit) -> Self:
        run_id = audit.coverage.run_id
        return cls(
            after_run=run_id,
            after_ledger_entry=audit.coverage.ledger_entry_id,
            after_correction=audit.coverage.correction_id,
            since=audit.started_at - _TRANSACTION_MAX,
            tying_run=run_id if audit.tying_run_id is None else audit.tying_run_id,
            is_full=False,
        )


class SnapshotEmptied(ContainerStacksError):  # noqa: N818 - named by what happened
    """A table was truncated under the audit, which empties it in every snapshot. Audit again."""


async def verify(connection: Connection, scope: Scope | None = None) -> list[Finding]:
    """Run every check in one snapshot, on everything unless `scope` says less. What is our own comes first."""
    scope = scope or Scope.everything()
    while True:
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await verify_snapshot(connection, scope)
        except SnapshotEmptied:
            continue


async def verify_snapshot(connection: Connection, scope: Scope) -> list[Finding]:
    """`verify`, in the snapshot of the caller's own repeatable-read transaction. Raises `SnapshotEmptied`."""
    await connection.execute("set local statement_timeout = 0")
    # One group per instance and rate in memory, also for a million instances.
    await connection.execute("set local work_mem = '128MB'")
    prices = await read_price_history(connection)
    findings = [
        *await _verify_instances(connection, scope, prices),
        *await _verify_runs(connection, scope),
        *await _verify_state(connection, scope, prices),
        *(await _verify_inherited(connection) if scope.is_full else []),
    ]
    if findings and await connection.fetchval(_QUERIES["was_emptied"]):
        raise SnapshotEmptied("a table was truncated while it was audited")
    return findings


async def _verify_instances(connection: Connection, scope: Scope, prices: PriceHistory) -> list[Finding]:
    rates = _columns(prices.rates, len(Rate._fields))
    suspects = await _fetch(
        connection,
        _SUSPECTS["instances"],
        scope.after_run,
        scope.tying_run,
        scope.after_correction,
        scope.is_full,
        scope.since,
        *rates,
    )
    reasons = {
        "unchained": ("overlapping_periods", "gaps_between_periods"),
        "off_mark": ("periods_beyond_last_billed",),
        "broken": ("broken_periods", "hours_that_had_not_passed"),
        "unknown": ("cycles_of_no_instance",),
    }
    findings: list[Finding] = []
    for reason, checks in reasons.items():
        instances = [row["id"] for row in suspects if row[reason]]
        for check in checks if instances else ():
            findings += await _find(connection, check, _INSTANCES[check], instances)
    return [
        *findings,
        *await _verify_rates(connection, scope, [row["id"] for row in suspects if row["odd_rate"]], rates),
    ]


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) or [()] * count


async def _verify_rates(
    connection: Connection, scope: Scope, instances: Sequence[UUID], rates: Sequence[Any]
) -> list[Finding]:
    if not instances:
        return []
    within = (scope.tying_run, scope.after_correction, *rates)
    odd = [row["id"] for row in await _fetch(connection, _SUSPECTS["rates"], instances, *within)]
    check = "rates_not_in_force"
    return await _find(connection, check, _INSTANCES[check], odd, *within) if odd else []


async def _verify_runs(connection: Connection, scope: Scope) -> list[Finding]:
    suspects = await _fetch(
        connection,
        _SUSPECTS["runs_and_entries"],
        scope.after_run,
        scope.after_ledger_entry,
        scope.since,
    )
    findings: list[Finding] = []
    for kind, queries in (("run", _RUNS), ("entry", _ENTRIES)):
        ids = [row["id"] for row in suspects if row["kind"] == kind]
        for check, query in queries.items() if ids else ():
            findings += await _find(connection, check, query, ids)
    return findings


async def _verify_state(connection: Connection, scope: Scope, prices: PriceHistory) -> list[Finding]:
    findings: list[Finding] = []
    for check, query in _LEDGER.items():
        findings += await _find(connection, check, query, scope.after_ledger_entry)
    values: dict[str, tuple[Any, ...]] = {
        "wallets_unlike_their_ledger": (scope.is_full, scope.after_ledger_entry),
        "write_offs_unlike_their_cycles": (scope.after_correction,),
        "debts_without_their_failure": (scope.since,),
        "hours_left_out": tuple(_columns(prices.waiting, len(Reference._fields))[:2]),
        "written_off_by_nobody": (),
        "charged_by_another_too": (scope.since,),
        "billed_into_the_future": (),
        "facts_of_the_future": (),
        "plan_changes_out_of_order": (scope.since,),
        "debts_settled_by_nothing": (scope.since,),
        "debts_of_another": (),
    }
    for check, value in values.items():
        findings += await _find(connection, check, _STATE[check], *value)
    return findings


async def _verify_inherited(connection: Connection) -> list[Finding]:
    findings: list[Finding] = []
    for check, query in _INHERITED.items():
        findings += await _find(connection, check, query, severity=Severity.INHERITED)
    return findings


async def _find(
    connection: Connection, check: str, query: str, *values: Any, severity: Severity = Severity.OWN
) -> list[Finding]:
    return [
        Finding(check, row["key"], row["detail"], severity)
        for row in await _fetch(connection, query, *values)
    ]


async def _fetch(connection: Connection, query: str, *values: Any) -> list[Any]:
    return await connection.fetch(query, *values, timeout=_TIMEOUT_SECONDS)
