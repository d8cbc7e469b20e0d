"""Measuring: what the database says of itself and of billing, for the metrics.

Every aggregator does so, leading or not: these figures exist for any active biller, and without one.
"""

import asyncio
from typing import Final

import structlog

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database.db import FAILURES, Pool
from containerstacks_shared.status.measurements import Measurements, measure

from . import metrics

_EVERY_SECONDS: Final = 15.0
_ANSWER_SECONDS_MAX: Final = 5.0

_log = structlog.get_logger(__name__)


async def measure_until(stop: asyncio.Event, *, pool: Pool) -> None:
    """Measure at once and then four times a minute; while the database is away, the last figures stand."""
    away = False
    seen: Measurements | None = None
    while not stop.is_set():
        try:
            async with asyncio.timeout(_ANSWER_SECONDS_MAX):
                measured = await _measure(pool)
            _log_changes(measured, seen)
            seen = measured
            away = False
        except FAILURES as error:
            if not away:
                _log.warning("measuring.database_away", error=describe(error))
            away = True
        await wait_for_event(stop, _EVERY_SECONDS)


async def _measure(pool: Pool) -> Measurements:
    async with pool.acquire() as connection:
        measured = await measure(connection)
    metrics.NOTIFICATION_QUEUE.set(measured.notification_queue_usage)
    metrics.CONNECTIONS.set(measured.connections)
    metrics.CONNECTIONS_MAX.set(measured.connections_max)
    metrics.BILLING_PAUSED.set(measured.billing_paused)
    last_success_at = measured.last_success_at
    metrics.LAST_SUCCESS_AT.set(last_success_at.timestamp() if last_success_at is not None else 0)
    metrics.AUDIT_FINDINGS.set(measured.audit_findings)
    metrics.PRICE_HOLDS.set(measured.price_holds)
    metrics.CHARGES_REFUSED.set(measured.charges_refused)
    metrics.CHARGES_GIVEN_BACK.set(measured.charges_given_back)
    metrics.WRITES_MENDED.set(measured.writes_mended)
    metrics.SCHEMA_CHANGED.set(measured.application_changes is not None)
    metrics.MEASURED_AT.set_to_current_time()
    return measured


def _log_changes(measured: Measurements, seen: Measurements | None) -> None:
    """Log what is new; what an earlier process saw is not."""
    if measured.application_changes is not None and (
        seen is None or seen.application_changes != measured.application_changes
    ):
        _log.error(
            "schema.changed", changes=measured.application_changes, then="run `containerstacks migrate`"
        )
    if seen is None:
        return
    if measured.charges_refused > seen.charges_refused:
        _log.warning("guard.charges_refused", charges=measured.charges_refused - seen.charges_refused)
    if measured.charges_given_back > seen.charges_given_back:
        _log.warning(
            "guard.charges_given_back", charges=measured.charges_given_back - seen.charges_given_back
        )
    if measured.writes_mended > seen.writes_mended:
        _log.warning("guard.writes_mended", writes=measured.writes_mended - seen.writes_mended)
