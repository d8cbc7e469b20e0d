"""A role of the database for each service, by the script that operators run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import psycopg
from psycopg import sql

SCRIPT: Final = Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql"
WEB: Final = "containerstacks_web"
BILLING_DAEMON: Final = "containerstacks_billing_daemon"
STATS_AGGREGATOR: Final = "containerstacks_stats_aggregator"
OWNER: Final = "containerstacks_owner"
# Whose connection string each command is given. `containerstacks`, which is not among them, works as the owner.
ROLE_OF: Final[Mapping[str, str]] = {
    "containerstacks-web": WEB,
    "containerstacks-billing-daemon": BILLING_DAEMON,
    "containerstacks-stats-aggregator": STATS_AGGREGATOR,
}
PASSWORD: Final = "of-a-role-in-tests"


def grant(dsn: str) -> None:
    """Run the script on a database."""
    create(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SCRIPT.read_bytes())


def create(dsn: str) -> None:
    """Make the roles with a password, where the server does not know them yet."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for role in (*ROLE_OF.values(), OWNER):
            try:
                connection.execute(
                    sql.SQL("create role {} login password {}").format(sql.Identifier(role), PASSWORD)
                )
            except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                # Roles belong to the server, and other tests use it too.
                continue


def as_role(dsn: str, role: str) -> str:
    """Lead to the same database as somebody else."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{PASSWORD}@{host}"))


async def begin_run(session: asyncpg.Connection) -> int:
    run: int = await session.fetchval(
        "insert into billing_runs (biller, trigger, holder, term) values ('builtin', 'once', 'me', 0) returning id"
    )
    return run


CHARGE: Final = "select hours_billed, amount_billed from charge_organizations($1, $2, $3)"


async def charge(session: asyncpg.Connection, organization: UUID, moment: str = "now()") -> int:
    until = await session.fetchval(f"select {moment}")
    row = await session.fetchrow(CHARGE, [organization], until, await begin_run(session))
    assert row is not None
    hours: int = row["hours_billed"]
    return hours
