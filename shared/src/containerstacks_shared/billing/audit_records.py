"""What the audits of the money found: one row each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_QUERIES = load(__name__)


@dataclass(frozen=True)
class Coverage:
    """Up to where an audit has seen everything: the greatest ids."""

    run_id: int
    ledger_entry_id: int
    correction_id: int


@dataclass(frozen=True)
class CleanAudit:
    """An audit without findings of our own. The runs after `tying_run_id` billed everything that was due before it."""

    id: int
    started_at: datetime
    coverage: Coverage
    tying_run_id: int | None
    findings_inherited: int


@dataclass(frozen=True)
class AuditRecord:
    """The last finished audit. `findings` holds the first of them, each {check, key, detail, severity}."""

    id: int
    is_full: bool
    based_on: int | None
    started_at: datetime
    finished_at: datetime
    findings_own: int
    findings_inherited: int
    findings: Sequence[dict[str, str]]

    @property
    def is_clean(self) -> bool:
        return self.findings_own == 0


async def start(connection: Connection, *, is_full: bool, based_on: int | None) -> int:
    row = await connection.fetchrow(_QUERIES["start"], is_full, based_on)
    assert row is not None
    identifier: int = row["id"]
    return identifier


async def finish(
    connection: Connection,
    audit_id: int,
    *,
    coverage: Coverage | None,
    findings_own: int,
    findings_inherited: int,
    findings: Sequence[dict[str, str]],
) -> None:
    """Record the result; `coverage` is None when no later audit can continue from here."""
    await connection.execute(
        _QUERIES["finish"],
        audit_id,
        coverage and coverage.run_id,
        coverage and coverage.ledger_entry_id,
        coverage and coverage.correction_id,
        findings_own,
        findings_inherited,
        list(findings),
    )


async def is_history_short(connection: Connection, *, cycles_max: int) -> bool:
    short: bool = await connection.fetchval(_QUERIES["is_history_short"], cycles_max)
    return short


async def last_clean(connection: Connection) -> CleanAudit | None:
    row = await connection.fetchrow(_QUERIES["last_clean"])
    if row is None:
        return None
    return CleanAudit(
        id=row["id"],
        started_at=row["started_at"],
        coverage=Coverage(
            row["covered_run_id"], row["covered_ledger_entry_id"], row["covered_correction_id"]
        ),
        tying_run_id=row["tying_run_id"],
        findings_inherited=row["findings_inherited"],
    )


async def read_last(connection: Connection) -> AuditRecord | None:
    """The newest finished audit, for the administrator's page and the metrics; None before the first."""
    row = await connection.fetchrow(_QUERIES["last"])
    return None if row is None else AuditRecord(**dict(row))


async def is_due(connection: Connection, *, every: timedelta, again_after: timedelta) -> bool:
    """Whether no audit has finished within `every`, and none has begun within `again_after`."""
    due: bool = await connection.fetchval(_QUERIES["is_due"], every, again_after)
    return due


async def last_finished_run(connection: Connection) -> int:
    run_id: int = await connection.fetchval(_QUERIES["last_finished_run"])
    return run_id


async def last_numbers(connection: Connection) -> tuple[int, int]:
    """Return the last ids drawn for a ledger entry and a correction, committed or not."""
    row = await connection.fetchrow(_QUERIES["last_numbers"])
    assert row is not None
    return row["ledger_entry_id"], row["correction_id"]


async def newest_transaction(connection: Connection) -> int:
    number: int = await connection.fetchval(_QUERIES["newest_transaction"])
    return number


async def oldest_transaction(connection: Connection) -> int:
    """Return the oldest transaction that still writes; every older one is over."""
    number: int = await connection.fetchval(_QUERIES["oldest_transaction"])
    return number


async def first_entry_of_later_runs(connection: Connection, run_id: int, *, after: int) -> int | None:
    entry: int | None = await connection.fetchval(_QUERIES["first_entry_of_later_runs"], run_id, after)
    return entry
