"""Audit the money: prove the billing invariants on the rows themselves, or name each row that breaks one."""

from dataclasses import dataclass

from containerstacks_shared.db import Connection
from containerstacks_shared.sql import load

_QUERIES = load("verify")
# A full audit reads all history; the ordinary limit is for queries that people wait for.
_TIMEOUT_SECONDS = 3600.0


@dataclass(frozen=True)
class Finding:
    """One offending row: which check found it, the row's id, and what is wrong with it."""

    check: str
    key: str
    detail: str


async def verify(connection: Connection) -> list[Finding]:
    """Run every check in one snapshot. An empty list means that all invariants hold."""
    findings: list[Finding] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local statement_timeout = 0")
        for check, query in _QUERIES.items():
            rows = await connection.fetch(query, timeout=_TIMEOUT_SECONDS)
            findings.extend(Finding(check=check, key=row["key"], detail=row["detail"]) for row in rows)
    return findings
