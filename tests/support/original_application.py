"""The original application as the database sees it: a role that owns nothing and may write its own tables."""

import contextlib
import itertools
import os
from collections.abc import AsyncIterator

import asyncpg

TABLES = (
    "users",
    "organizations",
    "organization_members",
    "wallets",
    "user_api_keys",
    "containers",
    "vps_instances",
    "support_tickets",
    "vps_plans",
    "service_providers",
    "payment_transactions",
    "vps_billing_cycles",
    "billing_daemon_status",
)

# Roles belong to the whole server, which several test processes may share.
_numbers = itertools.count(1)


@contextlib.asynccontextmanager
async def session_of_its_role(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session with the grants that the original's own installation needs, and no others."""
    name = f"panel_{os.getpid()}_{next(_numbers)}"
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute(f"create role {name} login password 'panel'")
        await owner.execute(f"grant select, insert, update, delete on {', '.join(TABLES)} to {name}")
        await owner.execute(f"grant usage on sequence billing_daemon_status_id_seq to {name}")
        session = await asyncpg.connect(
            dsn, user=name, password="panel", server_settings={"application_name": "original"}
        )
        try:
            yield session
        finally:
            await session.close()
    finally:
        await owner.execute(f"drop owned by {name}; drop role {name}")
        await owner.close()
