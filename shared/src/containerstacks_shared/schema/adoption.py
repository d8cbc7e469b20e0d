"""What kind of database a first migration meets: an empty one, an application's to adopt, or one to refuse.

By what it has, never by a version: the application's schema grew by a hundred steps, and a database may stand between
any two of them.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, text

from containerstacks_shared.core.errors import DatabaseUnsuitable

# Columns that adoption cannot add. Tables that some versions lack are created (steps/adopt.sql).
_NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "organizations": frozenset({"id", "name", "slug", "owner_id"}),
    "organization_members": frozenset({"organization_id", "user_id"}),
    "payment_transactions": frozenset(
        {"id", "organization_id", "amount", "currency", "payment_method", "payment_provider"}
        | {"provider_transaction_id", "status", "description", "metadata", "created_at", "updated_at"}
    ),
    "support_tickets": frozenset({"id", "status"}),
    "user_api_keys": frozenset(
        {"id", "user_id", "key_name", "key_hash", "key_prefix", "permissions", "active"}
    ),
    "users": frozenset({"id", "email", "name", "role", "password_hash"}),
    "vps_billing_cycles": frozenset(
        {
            "id",
            "vps_instance_id",
            "organization_id",
            "billing_period_start",
            "billing_period_end",
            "hourly_rate",
        }
        | {"total_amount", "status", "payment_transaction_id", "metadata", "created_at", "updated_at"}
    ),
    "vps_instances": frozenset(
        {"id", "organization_id", "plan_id", "label", "status", "configuration", "created_at"}
    ),
    "vps_plans": frozenset(
        {
            "id",
            "name",
            "provider_plan_id",
            "base_price",
            "markup_price",
            "specifications",
            "active",
            "created_at",
        }
    ),
    "wallets": frozenset({"id", "organization_id", "balance", "currency", "created_at"}),
}
_COLUMNS: Final = """
select c.relname, a.attname
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where c.relnamespace = 'public'::regnamespace
   and c.relkind in ('r', 'p')
   and c.relname = any (:names)
"""


def assess(connection: Connection) -> bool:
    """Whether there is an application's database to adopt; False means an empty one.

    Raises `DatabaseUnsuitable` where a table or a column is missing that cannot be made up, and names it.
    """
    present: dict[str, set[str]] = defaultdict(set)
    for table, column in connection.execute(text(_COLUMNS), {"names": sorted(_NEEDED)}):
        present[table].add(column)
    if not present:
        return False
    missing = sorted(_NEEDED.keys() - present.keys())
    if missing:
        raise DatabaseUnsuitable(
            "This database holds some of ContainerStacks' tables but not all of them"
            f" (missing: {', '.join(missing)}); it can be neither adopted nor set up afresh."
        )
    lacking = [
        f"{table}.{column}"
        for table, columns in sorted(_NEEDED.items())
        for column in sorted(columns - present[table])
    ]
    if lacking:
        raise DatabaseUnsuitable(
            f"This database cannot be adopted: it lacks the columns {', '.join(lacking)}. Nothing was changed."
        )
    return True
