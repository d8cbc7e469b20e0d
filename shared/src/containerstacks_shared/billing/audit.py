"""Audit the money on record: continue from the last clean audit, or look at everything.

Ids are drawn before their rows are committed, so "everything up to this id" is only said after every transaction that
may have drawn one of them is over. When they take too long, the audit stands, and the next one starts where it did.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import structlog

from containerstacks_shared.database.db import Connection

from . import audit_records
from .audit_records import Coverage
from .verify import Finding, Scope, Severity, SnapshotEmptied, verify_snapshot

log = structlog.get_logger(__name__)

_FINDINGS_KEPT_MAX = 100
# A few seconds' work.
_GLANCE_CYCLES_MAX = 500_000
_SETTLING_LOOKS_MAX = 300
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Audit:
    """`based_on` is the clean audit that this one went on from; None when it looked at everything.

    `inherited_known` findings of other billers stand from the last full audit, and were not looked for again.
    """

    id: int
    based_on: int | None
    findings: Sequence[Finding]
    inherited_known: int

    @property
    def own(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity is Severity.OWN]

    @property
    def inherited(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity is Severity.INHERITED]

    @property
    def is_clean(self) -> bool:
        """Whether every invariant of ours holds."""
        return not self.own


async def audit_for_operator(connection: Connection, *, full: bool) -> Audit:
    """Like `audit`, but with a glance at everything while there is little: old rows can be tampered with too."""
    short = await audit_records.is_history_short(connection, cycles_max=_GLANCE_CYCLES_MAX)
    return await audit(connection, full=full or short)


async def audit(connection: Connection, *, full: bool = False) -> Audit:
    """Verify what is new since the last clean audit, or everything, and record the result.

    Once an audit found damage, the next ones look at everything until one is clean.

    Not for a connection with a transaction of its own.
    """
    base = None if full else await audit_records.last_clean(connection)
    based_on = None if base is None else base.id
    audit_id = await audit_records.start(connection, is_full=base is None, based_on=based_on)
    coverage = await _settled(connection)
    scope = Scope.everything() if base is None else Scope.since_audit(base)
    while True:
        try:
            result = await _audit_snapshot(connection, audit_id, base, coverage, scope)
            break
        except SnapshotEmptied:
            log.info("audit.repeated", audit_id=audit_id)
    event = log.info if result.is_clean else log.error
    event("audit.finished", audit_id=audit_id, full=base is None, findings=len(result.own))
    return result


async def _audit_snapshot(
    connection: Connection,
    audit_id: int,
    base: audit_records.CleanAudit | None,
    coverage: Coverage | None,
    scope: Scope,
) -> Audit:
    async with connection.transaction(isolation="repeatable_read"):
        findings = await verify_snapshot(connection, scope)
        if coverage is not None:
            coverage = await _narrow(connection, coverage, scope)
        elif base is not None:
            coverage = base.coverage
        result = Audit(
            id=audit_id,
            based_on=None if base is None else base.id,
            findings=findings,
            inherited_known=base.findings_inherited if base else 0,
        )
        await audit_records.finish(
            connection,
            audit_id,
            coverage=coverage,
            findings_own=len(result.own),
            findings_inherited=len(result.inherited) + result.inherited_known,
            findings=[
                {name: str(value) for name, value in asdict(finding).items()}
                for finding in (*result.own, *result.inherited)[:_FINDINGS_KEPT_MAX]
            ],
        )
    return result


async def _settled(connection: Connection) -> Coverage | None:
    """Note the greatest ids, and wait until no transaction can commit a row with one of them. None if one still may."""
    run_id = await audit_records.last_finished_run(connection)
    ledger_entry_id, correction_id = await audit_records.last_numbers(connection)
    newest = await audit_records.newest_transaction(connection)
    for _ in range(_SETTLING_LOOKS_MAX):
        if await audit_records.oldest_transaction(connection) > newest:
            return Coverage(run_id, ledger_entry_id, correction_id)
        await asyncio.sleep(_PAUSE_SECONDS)
    log.warning("audit.not_settled", seconds=_SETTLING_LOOKS_MAX * _PAUSE_SECONDS)
    return None


async def _narrow(connection: Connection, coverage: Coverage, scope: Scope) -> Coverage:
    """Leave out what belongs to a run that is still going on: it is audited as a whole, next time."""
    run_id = min(coverage.run_id, await audit_records.last_finished_run(connection))
    entry = await audit_records.first_entry_of_later_runs(connection, run_id, after=scope.after_ledger_entry)
    ledger_entry_id = coverage.ledger_entry_id if entry is None else min(coverage.ledger_entry_id, entry - 1)
    return Coverage(run_id, ledger_entry_id, coverage.correction_id)
