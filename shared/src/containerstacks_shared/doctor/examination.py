"""All checks, one after the other. What one of them cannot find out is a finding of its own, and stops no other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from containerstacks_shared.core.errors import ContainerStacksError, describe
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.database import db
from containerstacks_shared.database.db import FAILURES, Connection

from . import billing_checks, server_checks, settings_checks
from .findings import Finding, failed

Check = Callable[[Connection, BillingSettings], Awaitable[Finding | list[Finding]]]

# What is owed is read from every instance.
_CHECK_SECONDS_MAX: Final = 60.0

_CHECKS: Final[dict[str, Check]] = {
    "server": server_checks.server,
    "triggers": server_checks.triggers,
    "transactions": server_checks.transactions,
    "roles": server_checks.roles,
    "tables": server_checks.tables,
    "services": billing_checks.services,
    "versions": billing_checks.versions,
}


async def examine(settings: BillingSettings) -> list[Finding]:
    """Look at everything that there is to look at. Raises nothing for what is wrong with the installation."""
    found = settings_checks.check(settings)
    try:
        pool = await db.create_pool(
            settings.dsn, service="doctor", size_max=1, through_pooler=settings.through_pooler
        )
    except ContainerStacksError as error:
        return [
            *found,
            failed(
                "server",
                "the database cannot be reached",
                "See that it runs, and that DATABASE_URL is right.",
                detail=str(error),
            ),
        ]
    try:
        found.append(await server_checks.coordination(settings))
        for subject, check in _CHECKS.items():
            found += await _run(subject, check, pool, settings)
    finally:
        pool.terminate()
    return found


async def _run(subject: str, check: Check, pool: db.Pool, settings: BillingSettings) -> list[Finding]:
    try:
        async with (
            asyncio.timeout(_CHECK_SECONDS_MAX),
            pool.acquire() as connection,
            connection.transaction(readonly=True),
        ):
            found = await check(connection, settings)
            return found if isinstance(found, list) else [found]
    except FAILURES as error:
        return [
            failed(
                subject,
                f"this could not be looked at ({type(error).__name__})",
                "Run `containerstacks doctor` with the database role of a service, on a migrated database.",
                detail=describe(error),
            )
        ]
