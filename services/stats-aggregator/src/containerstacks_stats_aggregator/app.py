"""How the stats aggregator is built: one leader folds, recounts and records, the others stand by."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from aiohttp import web

from containerstacks_shared.alerts.alerting import Alerting
from containerstacks_shared.alerts.receivers import Receiver, receivers
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.core.settings import load_settings
from containerstacks_shared.core.waiting import race
from containerstacks_shared.database import db
from containerstacks_shared.database.leading import lead_until_stopped
from containerstacks_shared.database.locks import Leadership, Role, Term
from containerstacks_shared.database.notify import Channel, Listener
from containerstacks_shared.database.opening import suitable_pool
from containerstacks_shared.process.probes import add_probes, connection_problems
from containerstacks_shared.process.runtime import Job, ServiceSpec
from containerstacks_shared.process.supervision import Account

from . import metrics
from .components import watch_components_until
from .folding import FoldProgress, fold_until
from .history import record_until
from .measuring import measure_until
from .outages import OutageLog
from .reconciling import reconcile_until
from .settings import StatsAggregatorSettings
from .waking import WakingClock

SERVICE: Final = "stats-aggregator"

# Folding, recounting, recording twice over, measuring and the look-out for outages go on side by side, and
# so do alerts, and a probe may ask.
_CONNECTIONS_MAX: Final = 9


@dataclass
class Leading:
    """The progress of folding while this process leads; None while it does not."""

    progress: FoldProgress | None = None


SETTINGS: Final = web.AppKey("settings", StatsAggregatorSettings)
POOL: Final = web.AppKey("pool", db.Pool)
LISTENER: Final = web.AppKey("listener", Listener)
ALERT_RECEIVERS: Final[web.AppKey[Sequence[Receiver]]] = web.AppKey("alert_receivers")


LEADING: Final = web.AppKey("leading", Leading)
OUTAGES: Final = web.AppKey("outages", OutageLog)
WAKING: Final = web.AppKey("waking", WakingClock)


def build() -> ServiceSpec:
    settings = load_settings(StatsAggregatorSettings)
    configure_logging(settings.log_level, settings.log_format, service=SERVICE)
    return ServiceSpec(
        app=create_app(settings),
        jobs=jobs,
        host=settings.host,
        port=settings.stats_aggregator_port,
        port_variable="STATS_AGGREGATOR_PORT",
        name=SERVICE,
        account=Account(activity=_activity, stuck=_stuck),
    )


def create_app(settings: StatsAggregatorSettings) -> web.Application:
    app = web.Application()
    app[SETTINGS] = settings
    app[ALERT_RECEIVERS] = receivers(settings)
    app[LISTENER] = Listener(settings.listen_dsn, [Channel.COUNT_DELTAS], service=SERVICE)
    app[LEADING] = Leading()
    app.cleanup_ctx.append(_database)
    add_probes(app, _reasons_not_ready)
    return app


def jobs(app: web.Application) -> Sequence[Job]:
    alerting = Alerting(app[POOL], app[SETTINGS], app[ALERT_RECEIVERS], sees_money=False)
    return [
        Job("listening", app[LISTENER].run),
        Job("waking", app[WAKING].tick_until),
        Job("outages", app[OUTAGES].watch_until),
        Job("measuring", partial(measure_until, pool=app[POOL])),
        Job("aggregating", partial(_aggregate_until_stopped, app)),
        Job("alerting", alerting.run),
    ]


async def _aggregate_until_stopped(app: web.Application, stop: asyncio.Event) -> None:
    leadership = Leadership(app[SETTINGS].listen_dsn, Role.STATS_AGGREGATOR, service=SERVICE)
    await lead_until_stopped(leadership, partial(_aggregate, app), stop=stop)


async def _aggregate(app: web.Application, term: Term, halt: asyncio.Event) -> None:
    pool, listener = app[POOL], app[LISTENER]
    subscription = listener.subscribe()
    progress = FoldProgress(app[WAKING])
    app[LEADING].progress = progress

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(
                fold_until(halt, pool=pool, term=term, subscription=subscription, progress=progress)
            )
            group.create_task(
                reconcile_until(halt, pool=pool, term=term, interval=app[SETTINGS].reconcile_interval)
            )
            group.create_task(
                record_until(halt, pool=pool, term=term, retention=app[SETTINGS].history_retention)
            )
            group.create_task(
                watch_components_until(
                    halt,
                    pool=pool,
                    term=term,
                    progress=progress,
                    outages=app[OUTAGES],
                    clock=app[WAKING],
                    billing_interval=app[SETTINGS].billing_interval,
                )
            )

    metrics.LEADER.set(1)
    try:
        # The database undoes what is cut off, and the next leader does it: no end waits for a database that is silent.
        await race(work(), halt.wait())
    finally:
        metrics.LEADER.set(0)
        app[LEADING].progress = None
        listener.unsubscribe(subscription)


async def _database(app: web.Application) -> AsyncIterator[None]:
    async with suitable_pool(app[SETTINGS], service=SERVICE, size_max=_CONNECTIONS_MAX) as app[POOL]:
        app[WAKING] = WakingClock()
        app[OUTAGES] = OutageLog(app[POOL], app[WAKING])
        yield


async def _reasons_not_ready(app: web.Application) -> list[str]:
    return await connection_problems(app[LISTENER], app[POOL])


def _activity(app: web.Application) -> str:
    progress = app[LEADING].progress
    if progress is None:
        return "Standing by: another aggregator leads, or the database is away"
    return f"Leading: everything was folded {progress.behind.total_seconds():.0f} s ago"


def _stuck(app: web.Application, allowed: timedelta) -> str | None:
    progress = app[LEADING].progress
    if progress is None or progress.standing_still <= allowed:
        return None
    return f"folding has made no progress for {progress.standing_still.total_seconds():.0f} s"
