"""Checks conditions. One of several processes claims each check, so one process is enough."""

from datetime import timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog

from containerstacks_shared.billing.control import read_pause
from containerstacks_shared.billing.debts import read_runways
from containerstacks_shared.billing.guard import read_guard
from containerstacks_shared.billing.price_holds import read_waiting
from containerstacks_shared.billing.status import read_daemon_status
from containerstacks_shared.core.settings import CommonSettings
from containerstacks_shared.database.db import Connection, Pool
from containerstacks_shared.database.locks import Role, is_held
from containerstacks_shared.database.suitability import read_application_changes
from containerstacks_shared.process.processes import read_stuck_session
from containerstacks_shared.status.health import BY_KIND, Facts, Kind, Severity

from . import records
from .conditions import OF_SERVICES, Delays, Details, find, low
from .records import Condition

_KEPT: Final = timedelta(days=90)

_SERVICES: Final = "services"
_RUNWAYS: Final = "runways"

_log = structlog.get_logger(__name__)


class Watch:
    """`sees_money` is whether this process may read wallets."""

    def __init__(
        self, pool: Pool, settings: CommonSettings, *, receivers: list[str], sees_money: bool
    ) -> None:
        self._pool = pool
        self._interval = settings.billing_interval
        # Each of several processes tries once in `alert_check_seconds`, so checks are about that far apart.
        self._every = timedelta(seconds=settings.alert_check_seconds * 0.8)
        self._delays = Delays.of(settings)
        self._runway_hours = Decimal(settings.alert_runway_hours)
        self._receivers = receivers
        self._sees_money = sees_money

    async def check(self) -> bool:
        """Make the checks that are due. Returns whether there is something new to send."""
        news = await self._check_services()
        if self._sees_money:
            news = await self._check_runways() or news
        return news

    async def _check_services(self) -> bool:
        async with self._pool.acquire() as connection, connection.transaction():
            seen = await records.claim_check(connection, _SERVICES, every=self._every)
            if seen is None:
                return False
            waited, newest = await records.read_deltas(connection, seen=seen)
            details = Details(
                pause=await read_pause(connection),
                last_run=await records.read_last_run(connection),
                last_audit=await records.read_last_audit(connection),
                waiting=await read_waiting(connection),
            )
            guard = await read_guard(connection)
            facts = Facts(
                now=await connection.fetchval("select clock_now()"),
                daemon=await read_daemon_status(connection, interval=self._interval),
                billing_interval=self._interval,
                billing_paused=details.pause.paused,
                audit_findings=None if details.last_audit is None else details.last_audit.findings_own,
                price_holds=len(details.waiting),
                schema_changed=await read_application_changes(connection) is not None,
                application_refused=guard.refused_lately,
                guard_intervened=guard.intervened_lately,
                stuck_session=await read_stuck_session(connection),
                aggregator_leads=await is_held(connection, Role.STATS_AGGREGATOR),
                # A delta that an earlier check has seen waits at least since then.
                counts_behind=self._every if waited else timedelta(0),
            )
            news = await self._note(connection, find(facts, details, self._delays), OF_SERVICES)
            await records.forget(connection, older_than=_KEPT)
            await records.finish_check(connection, _SERVICES, seen=newest)
        return news

    async def _check_runways(self) -> bool:
        """Check every organization after each run, and between runs only whether a low balance has recovered."""
        async with self._pool.acquire() as connection, connection.transaction():
            seen = await records.claim_check(connection, _RUNWAYS, every=self._every)
            if seen is None:
                return False
            run = await records.read_last_run(connection)
            newest = seen if run is None else run.id
            organizations = None
            if newest == seen:
                organizations = [
                    UUID(subject)
                    for subject in await records.read_open_subjects(connection, Kind.LOW_BALANCE)
                ]
            runways = await read_runways(
                connection, organizations=organizations, hours_below=self._runway_hours
            )
            news = await self._note(connection, low(runways), {Kind.LOW_BALANCE})
            await records.finish_check(connection, _RUNWAYS, seen=newest)
        return news

    async def _note(
        self, connection: Connection, found: list[Condition], kinds: frozenset[Kind] | set[Kind]
    ) -> bool:
        opened, resolved = await records.note(connection, found, of=kinds, receivers=self._receivers)
        for change in opened:
            critical = BY_KIND[Kind(change.kind)].severity is Severity.CRITICAL
            log = _log.error if critical else _log.warning
            log("alert.opened", alert_id=change.id, kind=change.kind, summary=change.summary)
        for change in resolved:
            _log.info("alert.recovered", alert_id=change.id, kind=change.kind)
        return bool(opened or resolved)
