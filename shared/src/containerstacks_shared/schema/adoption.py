"""What kind of database a first migration meets: an empty one, the original's schema A, or one to refuse."""

from sqlalchemy import Connection, text

from containerstacks_shared.core.errors import DatabaseUnsuitable

_TABLES_OF_THE_ORIGINAL = frozenset(
    {
        # Without it the application does not look whether a daemon bills, and cannot be paused.
        "billing_daemon_status",
        "containers",
        "organizations",
        "organization_members",
        "payment_transactions",
        "support_tickets",
        "user_api_keys",
        "users",
        "vps_billing_cycles",
        "vps_instances",
        "vps_plans",
        "wallets",
    }
)

_COLUMNS_OF_SCHEMA_B = (
    ("vps_instances", "backup_frequency"),
    ("vps_plans", "backup_price_monthly"),
    ("payment_transactions", "provider_capture_id"),
)


def assess(connection: Connection) -> bool:
    """Whether there is a schema A to adopt; False means an empty database.

    Raises `DatabaseUnsuitable` for schema B, and for a database that holds only some of the tables.
    """
    present = set(
        connection.scalars(
            text(
                "select relname from pg_class where relnamespace = 'public'::regnamespace"
                " and relkind in ('r', 'p') and relname = any (:names)"
            ),
            {"names": sorted(_TABLES_OF_THE_ORIGINAL)},
        )
    )
    if not present:
        return False
    _refuse_schema_b(connection)
    missing = _TABLES_OF_THE_ORIGINAL - present
    if missing:
        raise DatabaseUnsuitable(
            "This database holds some of ContainerStacks' tables but not all of them"
            f" (missing: {', '.join(sorted(missing))}); it can be neither adopted nor set up afresh."
        )
    return True


def _refuse_schema_b(connection: Connection) -> None:
    for table, column in _COLUMNS_OF_SCHEMA_B:
        found = connection.scalar(
            text(
                "select exists (select from information_schema.columns where table_schema = 'public'"
                " and table_name = :table and column_name = :column)"
            ),
            {"table": table, "column": column},
        )
        if found:
            raise DatabaseUnsuitable(
                f"This is schema B of the original application (found {table}.{column}). Its built-in billing"
                " cannot be paused by a daemon, so two billers would charge the same hours. Refused; nothing"
                " was changed."
            )
