"""Watching: what the components of the status page are like, by the table of conditions in `health`."""

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from containerstacks_shared.billing.control import read_pause
from containerstacks_shared.billing.status import read_daemon_status
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import db, locks
from containerstacks_shared.database.locks import Role, Term
from containerstacks_shared.fleet import counts
from containerstacks_shared.status import component_rules, components, incidents
from containerstacks_shared.status.documents import Component, ComponentState
from containerstacks_shared.status.health import Facts

from . import metrics
from .folding import FoldProgress
from .outages import OutageLog
from .waking import WakingClock

# Services that start together, or with their machine, are not down because they are not up yet.
SETTLE: Final = timedelta(seconds=30)
_SETTLING_LOOK_EVERY: Final = timedelta(seconds=1)
# How late a change of state may be on the page. A minute counts as it began.
LOOK_EVERY: Final = timedelta(seconds=10)

_log = structlog.get_logger(__name__)


async def watch_components_until(
    halt: asyncio.Event,
    *,
    pool: db.Pool,
    term: Term,
    progress: FoldProgress,
    outages: OutageLog,
    clock: WakingClock,
    billing_interval: timedelta,
    settle: timedelta = SETTLE,
) -> None:
    """Look every few seconds; the look that begins a minute is its record.

    A component that is not operational at the start has the time `settle` to become so before its state is recorded.
    The same holds after this process was stopped, since others may have been stopped with it, and after an outage of
    the database, which cut everybody off.
    """
    disturbed_at, looked_at, asleep = clock.time(), -math.inf, clock.asleep()
    pause, begins_minute = timedelta(0), True

    def is_settling() -> bool:
        last = max(disturbed_at, outages.away_at)
        return looked_at < last and clock.time() < last + settle.total_seconds()

    while not await wait_for_event(halt, pause.total_seconds()):
        if clock.asleep() > asleep:
            disturbed_at, asleep = clock.time(), clock.asleep()
            begins_minute = True
        began_at = clock.time()
        to_next_minute = await look_at_components(
            pool,
            term,
            progress=progress,
            outages=outages,
            clock=clock,
            billing_interval=billing_interval,
            begins_minute=begins_minute,
            is_settling=is_settling,
        )
        if to_next_minute is None:
            pause = _SETTLING_LOOK_EVERY
            continue
        looked_at = began_at
        pause, begins_minute = min(LOOK_EVERY, to_next_minute), to_next_minute <= LOOK_EVERY


async def look_at_components(
    pool: db.Pool,
    term: Term,
    *,
    progress: FoldProgress,
    outages: OutageLog,
    clock: WakingClock,
    billing_interval: timedelta,
    begins_minute: bool,
    is_settling: Callable[[], bool] = lambda: False,
) -> timedelta | None:
    """Write the states down, as the record of this minute if it begins one; return how long until the next begins.

    Return None while things settle and a component is not operational; this is asked after everything was read.
    """
    async with pool.acquire() as connection:
        facts = await _read_facts(connection, progress, clock, billing_interval)
        findings = {component: component_rules.measure(component, facts) for component in Component}
        if is_settling() and any(each.state is not ComponentState.OPERATIONAL for each in findings.values()):
            return None
        async with connection.transaction():
            await locks.assert_term(connection, term)
            # Before this look is on record, which is newer than they are.
            moments = outages.moments
            await components.record_outages(connection, moments)
            if begins_minute:
                current = await incidents.read_current(connection)
                await components.record(connection, findings, current)
            else:
                await components.save_states(connection, findings)
            now = await components.read_clock(connection)
    outages.forget(moments)
    if begins_minute:
        metrics.COMPONENTS_RECORDED_AT.set_to_current_time()
        _log.debug("components.recorded", **{name.value: finding.state for name, finding in findings.items()})
    return now.to_next_minute


async def _read_facts(
    connection: db.Connection, progress: FoldProgress, clock: WakingClock, billing_interval: timedelta
) -> Facts:
    asked_at = clock.time()
    now = (await components.read_clock(connection)).now
    database_seconds = clock.time() - asked_at
    vps = await counts.read_vps_statistics(connection)
    daemon = await read_daemon_status(connection, interval=billing_interval)
    return Facts(
        now=now,
        daemon=daemon,
        billing_interval=billing_interval,
        billing_paused=(await read_pause(connection)).paused,
        vps_total=vps.total,
        vps_error=vps.by_status.error,
        counts_behind=progress.behind,
        database_seconds=database_seconds,
        # Every web process holds this lock as long as it lives and its database connection does.
        web_connected=await locks.is_held(connection, Role.BUILTIN_STANDBY),
    )
