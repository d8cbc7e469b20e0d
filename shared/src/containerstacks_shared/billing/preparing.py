"""Prepares a run: the clock, the rates, prices out of proportion."""

import asyncpg
import structlog

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.core.queries import load
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.database.db import Connection, limit_transaction

from . import price_holds, run_records

log = structlog.get_logger(__name__)

_RATES = load(__name__, "rates")
_REPAIRS = load(__name__, "repairs")
_LOCK_WAIT_MAX = "2s"
# Less than the client's own limit, whose end would end the run.
_STATEMENT_SECONDS_MAX = 20.0


async def prepare(connection: Connection, settings: BillingSettings) -> list[dict[str, object]]:
    """Return what an operator should look at. Raises `ContainerStacksError` when the clock stands behind.

    The caller owns the transaction.
    """
    last = await run_records.clock_regressed(connection)
    if last is not None:
        raise ContainerStacksError(
            f"the database's clock stands before the last billing run ({last:%Y-%m-%d %H:%M:%S} UTC);"
            " nothing is billed until it is right"
        )
    # Limits what all of this waits for: one open session must not stop everybody's billing.
    await limit_transaction(
        connection, lock_wait_max=_LOCK_WAIT_MAX, statement_seconds_max=_STATEMENT_SECONDS_MAX
    )
    problems = [
        *await _withdraw_future_moments(connection),
        *await _bring_rates_up_to_date(connection),
    ]
    await price_holds.hold_and_lift(connection, factor_max=settings.price_factor_max)
    return problems


async def _withdraw_future_moments(connection: Connection) -> list[dict[str, object]]:
    try:
        async with connection.transaction():
            withdrawn = await connection.fetchval(_REPAIRS["withdraw_future_moments"])
    except asyncpg.LockNotAvailableError:
        # The next run does it; no hour that has not passed is charged in any case.
        return []
    if not withdrawn:
        return []
    log.error("clock.was_ahead", moments=withdrawn)
    return [{"problem": "clock_was_ahead", "count": withdrawn}]


async def _bring_rates_up_to_date(connection: Connection) -> list[dict[str, object]]:
    try:
        async with connection.transaction():
            await connection.execute(_RATES["register_missing"])
            await connection.execute(_RATES["refresh_all"])
    except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError) as error:
        # Committed edits brought their rates along. Only instances whose plan has no rate yet wait.
        log.warning("rates.not_refreshed", error=str(error))
        return [{"problem": "rates_not_refreshed", "count": 1}]
    return []
