"""The database server: what it is, whether coordination works on it, and whether it is looked after."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.queries import load
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.database import suitability
from containerstacks_shared.database.db import Connection

from .findings import Finding, failed, ok, warning

QUERIES: Final = load(__name__, "doctor")

# Those that grow with every hour, or change with every run.
BIG_TABLES: Final = (
    *("vps_billing_cycles", "payment_transactions", "wallet_ledger_entries", "vps_instances", "wallets"),
    *("count_deltas", "billing_runs", "vps_history", "component_history"),
)

_CLOCKS_APART_MAX: Final = timedelta(seconds=5)
_TRANSACTION_MAX: Final = timedelta(minutes=30)
_CONNECTIONS_USED_MAX: Final = 0.9
_QUEUE_USED_MAX: Final = 0.25
_DISK_FREE_MIN: Final = 0.1
_DEAD_ROWS_MIN: Final = 50_000
_DEAD_SHARE_MAX: Final = 0.3
# PostgreSQL forces a freeze at 200 million, and stops at 2,100 million.
_TRANSACTIONS_SINCE_FREEZE_MAX: Final = 1_000_000_000

_SERVICE_ROLES: Final = (
    "containerstacks_web",
    "containerstacks_billing_daemon",
    "containerstacks_stats_aggregator",
)
_RIGHTS: Final = (
    ("containerstacks_web", "wallets", "select"),
    ("containerstacks_web", "billing_audits", "insert"),
    ("containerstacks_web", "billing_control", "update"),
    ("containerstacks_billing_daemon", "billing_runs", "insert"),
    ("containerstacks_billing_daemon", "billing_audits", "insert"),
    ("containerstacks_stats_aggregator", "counts", "update"),
    ("containerstacks_stats_aggregator", "component_history", "insert"),
)
_MONEY: Final = ("wallets", "payment_transactions", "vps_billing_cycles")


async def coordination(settings: BillingSettings) -> Finding:
    """Schema, clock, LISTEN and locks, as every process demands them when it starts."""
    try:
        await suitability.assert_suitable(settings.dsn, settings.listen_dsn, test_clock=settings.test_clock)
    except ContainerStacksError as error:
        return failed(
            "coordination",
            "no process would start on this database",
            "Do what the message says.",
            detail=str(error),
        )
    return ok("coordination", f"schema {suitability.SCHEMA_REVISION}; LISTEN and advisory locks work")


async def server(connection: Connection, _settings: BillingSettings) -> list[Finding]:
    facts = await connection.fetchrow(QUERIES["server"])
    assert facts is not None
    return [*_server(facts), *_clock(facts), *_room(facts)]


def _server(facts: asyncpg.Record) -> Iterator[Finding]:
    yield ok(
        "server", f"PostgreSQL {facts['version']}, {_megabytes(facts['database_bytes'])} in this database"
    )
    if facts["encoding"] != "UTF8":
        yield warning(
            "server", f"the encoding is {facts['encoding']}", "Use a database with the encoding UTF8."
        )
    if facts["isolation"] != "read committed":
        yield warning(
            "server",
            f"transactions are {facts['isolation']} by default",
            "Set default_transaction_isolation to 'read committed' for this database and its roles.",
        )
    if not (facts["fsync"] and facts["full_page_writes"]):
        yield failed(
            "server",
            "fsync or full_page_writes is off: a power failure loses charges",
            "Turn both on in postgresql.conf.",
        )
    if not facts["autovacuum"]:
        yield failed("server", "autovacuum is off", "Turn it on in postgresql.conf.")
    if facts["transactions_since_freeze"] > _TRANSACTIONS_SINCE_FREEZE_MAX:
        yield failed(
            "server",
            f"{facts['transactions_since_freeze'] // 1_000_000} million transactions since the last freeze",
            "Find what keeps autovacuum from freezing (old transactions, replication slots), then VACUUM FREEZE.",
        )


def _clock(facts: asyncpg.Record) -> Iterator[Finding]:
    apart = abs(datetime.now(UTC) - facts["now"])
    if facts["clock_offset"]:
        yield failed(
            "clock",
            f"the database's clock is shifted by {facts['clock_offset']}",
            "`alter database … reset containerstacks.clock_offset`; only tests shift it.",
        )
    elif apart > _CLOCKS_APART_MAX:
        yield warning(
            "clock",
            f"this machine's clock and the database's are {apart.total_seconds():.0f} s apart",
            "Run a time service (NTP) on both machines. Billing goes by the database's.",
        )
    else:
        yield ok("clock", "the database's clock is not shifted, and agrees with this machine's")


def _room(facts: asyncpg.Record) -> Iterator[Finding]:
    used = facts["connections"] / facts["connections_max"]
    text = f"{facts['connections']} of {facts['connections_max']} connections are in use"
    if used > _CONNECTIONS_USED_MAX:
        yield warning(
            "connections", text, "Raise max_connections, or put PgBouncer in front (docs/scaling.md)."
        )
    else:
        yield ok("connections", text)
    if facts["notification_queue_usage"] > _QUEUE_USED_MAX:
        yield failed(
            "notifications",
            f"the notification queue is {facts['notification_queue_usage']:.0%} full",
            "End the session that has listened in an open transaction for long.",
        )
    directory = facts["data_directory"]
    if facts["is_local"] and directory and Path(directory).is_dir():
        disk = shutil.disk_usage(directory)
        text = f"{_megabytes(disk.free)} are free where the database lies"
        if disk.free < _DISK_FREE_MIN * disk.total:
            yield failed("disk", text, "Make room: at zero PostgreSQL stops, and billing with it.")
        else:
            yield ok("disk", text)
    else:
        yield ok(
            "disk", "not looked at: the server is elsewhere, or this role may not know where its data lie"
        )


async def triggers(connection: Connection, _settings: BillingSettings) -> Finding:
    disabled = await connection.fetchval(QUERIES["disabled_triggers"])
    if disabled:
        return failed(
            "triggers",
            f"disabled triggers of ours: {disabled}; counts, the ledger or the guard miss changes",
            "`alter table … enable trigger …` for each that \\d shows as disabled; then `verify --full`.",
        )
    return ok("triggers", "all are enabled")


async def transactions(connection: Connection, _settings: BillingSettings) -> Finding:
    open_for = await connection.fetchval(QUERIES["oldest_transaction"])
    if open_for is not None and open_for > _TRANSACTION_MAX:
        return warning(
            "transactions",
            f"one has been open for {open_for.total_seconds() / 60:.0f} minutes",
            "Find it in pg_stat_activity (xact_start) and end it: it stops autovacuum from removing dead rows.",
        )
    return ok("transactions", "none is open for long")


async def roles(connection: Connection, _settings: BillingSettings) -> Finding:
    if not await connection.fetchval(QUERIES["service_roles"], list(_SERVICE_ROLES)):
        return warning(
            "roles",
            "all services share one role, so an attacker in web could move money",
            "Give each service its own: deploy/postgres/roles.sql.",
        )
    wanted = [*_RIGHTS, *((_SERVICE_ROLES[0], table, "select") for table in _MONEY)]
    missing = await connection.fetch(QUERIES["missing_rights"], *map(list, zip(*wanted, strict=True)))
    if missing:
        named = ", ".join(f"{row['privilege']} on {row['relation']} for {row['role']}" for row in missing)
        return failed(
            "roles",
            f"rights are missing: {named}",
            "Run deploy/postgres/roles.sql of this release again.",
        )
    return ok("roles", "each service has its own, with the rights that it needs")


async def tables(connection: Connection, _settings: BillingSettings) -> Finding:
    found = await connection.fetch(QUERIES["tables"], list(BIG_TABLES))
    bloated = [
        row["name"]
        for row in found
        if row["dead_rows"] > max(_DEAD_ROWS_MIN, _DEAD_SHARE_MAX * (row["rows"] + row["dead_rows"]))
    ]
    if bloated:
        return warning(
            "tables",
            f"autovacuum does not keep up with {', '.join(bloated)}",
            "`vacuum analyze` them now; then raise autovacuum_vacuum_cost_limit.",
        )
    largest = found[0] if found else None
    size = f"; the largest, {largest['name']}, has {_megabytes(largest['bytes'])}" if largest else ""
    return ok("tables", f"autovacuum keeps up{size}")


def _megabytes(amount: int) -> str:
    return f"{amount / 1_000_000:,.0f} MB"
