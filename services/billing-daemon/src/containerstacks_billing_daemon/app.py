"""How the billing daemon is built: one process leads and bills, every other one stands by."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web
from platformdirs import user_state_path

from containerstacks_shared.alerts.alerting import Alerting
from containerstacks_shared.alerts.receivers import Receiver, receivers
from containerstacks_shared.billing.charging_loop import CHANNELS
from containerstacks_shared.billing.documents import Biller
from containerstacks_shared.billing.heartbeat import hand_back_if_last
from containerstacks_shared.billing.term import BillingTerm
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.core.settings import load_settings
from containerstacks_shared.database import db
from containerstacks_shared.database.notify import Listener
from containerstacks_shared.database.opening import suitable_pool
from containerstacks_shared.process.probes import add_probes, connection_problems
from containerstacks_shared.process.runtime import Job, ServiceSpec
from containerstacks_shared.process.supervision import Account

from . import platforms, status_file
from .reporting import Reporter
from .settings import BillingDaemonSettings
from .status_file import StatusFile

SERVICE: Final = "billing-daemon"

# A run, a heartbeat, the status file, a probe, the debt hook, the watch over progress, an audit and alerts may each
# want one.
_CONNECTIONS_MAX: Final = 10

# The batch in hand is finished first; the longest statement is cut at half a minute.
_STOPS_WITHIN: Final = timedelta(seconds=40)

SETTINGS: Final = web.AppKey("settings", BillingDaemonSettings)
STATUS_FILE: Final = web.AppKey("status_file", StatusFile)
POOL: Final = web.AppKey("pool", db.Pool)
LISTENER: Final = web.AppKey("listener", Listener)
REPORTER: Final = web.AppKey("reporter", Reporter)
TERM: Final = web.AppKey("term", BillingTerm)
ALERT_RECEIVERS: Final[web.AppKey[Sequence[Receiver]]] = web.AppKey("alert_receivers")

_log = structlog.get_logger(__name__)


def build() -> ServiceSpec:
    settings = load_settings(BillingDaemonSettings)
    configure_logging(settings.log_level, settings.log_format, service=SERVICE)
    file = StatusFile(None)
    # Before anything is logged: a wrong setting is a single line.
    app = create_app(settings, file)
    detection = platforms.detect(sys.platform)
    file.path = status_file.choose(settings.status_file_path, status_file_candidates(detection.system))
    _log_platform(detection)
    if file.path is not None:
        status_file.remove_leftovers(file.path)
    return ServiceSpec(
        app=app,
        jobs=jobs,
        host=settings.host,
        port=settings.billing_daemon_port,
        port_variable="BILLING_DAEMON_PORT",
        name=SERVICE,
        shutdown_timeout=_STOPS_WITHIN,
        account=Account(activity=_activity, stuck=_stuck),
    )


def create_app(settings: BillingDaemonSettings, file: StatusFile) -> web.Application:
    app = web.Application()
    app[SETTINGS] = settings
    app[STATUS_FILE] = file
    app[ALERT_RECEIVERS] = receivers(settings)
    app[LISTENER] = Listener(settings.listen_dsn, CHANNELS, service=SERVICE)
    app.cleanup_ctx.append(_database)
    app.on_startup.append(_build_term)
    add_probes(app, _reasons_not_ready)
    return app


def jobs(app: web.Application) -> Sequence[Job]:
    alerting = Alerting(app[POOL], app[SETTINGS], app[ALERT_RECEIVERS], sees_money=True)
    return [
        Job("listening", app[LISTENER].run),
        Job("billing", partial(_bill, app)),
        Job("alerting", alerting.run),
    ]


async def _bill(app: web.Application, stop: asyncio.Event) -> None:
    await app[TERM].serve(stop)
    await hand_back_if_last(app[POOL])
    await app[REPORTER].stopped()


def status_file_candidates(system: platforms.System) -> tuple[Path, Path]:
    """Where the platform expects it, and where any user may write."""
    usual = platforms.status_file(system, os.environ)
    return Path(usual), user_state_path("containerstacks", appauthor=False) / usual.name


def database(settings: BillingDaemonSettings) -> AbstractAsyncContextManager[db.Pool]:
    return suitable_pool(settings, service=SERVICE, size_max=_CONNECTIONS_MAX)


async def _database(app: web.Application) -> AsyncIterator[None]:
    async with database(app[SETTINGS]) as app[POOL]:
        yield


async def _build_term(app: web.Application) -> None:
    app[REPORTER] = Reporter(app[POOL], app[STATUS_FILE])
    app[TERM] = BillingTerm(
        app[POOL],
        app[SETTINGS],
        app[LISTENER],
        Biller.DAEMON,
        service=SERVICE,
        observer=app[REPORTER],
    )


async def _reasons_not_ready(app: web.Application) -> list[str]:
    return app[TERM].stall_watch.reasons_not_ready + await connection_problems(app[LISTENER], app[POOL])


def _activity(app: web.Application) -> str:
    if not app[TERM].stall_watch.leads:
        return "Standing by: another daemon bills, or the database is away"
    return f"Billing: {status_file.describe_runs(app[STATUS_FILE].last)}"


def _stuck(app: web.Application, _allowed: timedelta) -> str | None:
    # Billing has a patience of its own, of hours.
    return app[TERM].stall_watch.stuck


def _log_platform(detection: platforms.Detection) -> None:
    if detection.recognised:
        _log.info("platform.detected", os=detection.system.value)
    else:
        _log.warning("platform.unrecognised", os=detection.name, treated_as="ubuntu/linux")
