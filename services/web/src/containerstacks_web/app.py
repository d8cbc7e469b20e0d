"""How the web service is built: its parts, their lifetimes, and the jobs that keep them going."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

import aiohttp_session
from aiohttp import web

from containerstacks_shared.alerts.alerting import Alerting
from containerstacks_shared.alerts.receivers import Receiver, receivers
from containerstacks_shared.billing import charging_loop
from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.core.settings import load_settings
from containerstacks_shared.core.waiting import race
from containerstacks_shared.database.notify import Listener
from containerstacks_shared.database.opening import suitable_pool
from containerstacks_shared.database.reading import open_reader
from containerstacks_shared.process.probes import add_probes
from containerstacks_shared.process.runtime import Job, ServiceSpec
from containerstacks_shared.process.supervision import Account
from containerstacks_web.api.openapi import API_DESCRIPTION, ApiDescription
from containerstacks_web.http import middlewares
from containerstacks_web.http.client_address import TRUSTED_PROXIES, TrustedProxies
from containerstacks_web.http.policy import enforce_policy
from containerstacks_web.http.problems import ERROR_PAGE
from containerstacks_web.http.rate_limiting import RATE_LIMITER, RateLimiter
from containerstacks_web.http.response_headers import set_headers
from containerstacks_web.live import board, feed
from containerstacks_web.live.admin_sockets import ADMIN_SOCKETS, AdminSockets
from containerstacks_web.live.board import STATUS_BOARD, StatusBoard
from containerstacks_web.live.feed import SNAPSHOT_FEED, SnapshotFeed
from containerstacks_web.live.history import HISTORY, HistoryReadings
from containerstacks_web.live.hub import HUB, Hub
from containerstacks_web.live.platform_statistics import PLATFORM_STATISTICS, PlatformStatisticsCache
from containerstacks_web.pages import sign_in
from containerstacks_web.pages.handlers import error_page
from containerstacks_web.sign_in.admission import admit
from containerstacks_web.sign_in.credential_marks import CREDENTIAL_MARKS, CredentialMarks
from containerstacks_web.sign_in.credentials import still_sees_details
from containerstacks_web.sign_in.key_uses import KEY_USES, KeyUses
from containerstacks_web.sign_in.sessions import SESSION_STORAGE, DatabaseSessionStorage

from . import builtin_billing, pages, response_cache
from .builtin_billing import BUILTIN_BILLING
from .database import LISTENER, POOL, READER
from .routes import ROUTES
from .settings import SETTINGS, WebSettings
from .shared_redis import open_shared_redis

# A form's fields; nothing else is sent to this service.
_REQUEST_BYTES_MAX = 64 * 1024
# From one look at the database to the end of the next, with room to spare.
_LOOK_TAKES_MAX = timedelta(seconds=15)

ALERT_RECEIVERS: Final[web.AppKey[Sequence[Receiver]]] = web.AppKey("alert_receivers")


def build() -> ServiceSpec:
    settings = load_settings(WebSettings)
    configure_logging(settings.log_level, settings.log_format, service="web")
    return ServiceSpec(
        app=create_app(settings),
        jobs=jobs,
        host=settings.host,
        port=settings.port,
        name="web",
        account=Account(activity=_activity, stuck=_stuck),
    )


def create_app(settings: WebSettings) -> web.Application:
    app = web.Application(client_max_size=_REQUEST_BYTES_MAX)
    app[SETTINGS] = settings
    app[ALERT_RECEIVERS] = receivers(settings)
    app[TRUSTED_PROXIES] = TrustedProxies(settings.trusted_proxies)
    app[response_cache.RESPONSE_CACHE] = response_cache.ResponseCache()
    app[SESSION_STORAGE] = DatabaseSessionStorage(settings.session_secret)
    app.middlewares.extend(
        (
            response_cache.answer_anonymous,
            middlewares.log_request,
            middlewares.answer_errors,
            enforce_policy,
            aiohttp_session.session_middleware(app[SESSION_STORAGE]),
            admit,
        )
    )
    app[ERROR_PAGE] = error_page
    app.on_response_prepare.append(set_headers)
    add_probes(app, _reasons_not_ready)
    app.router.add_routes(ROUTES)
    app[API_DESCRIPTION] = ApiDescription(settings.company_name, app.router)
    pages.setup(app)
    app.cleanup_ctx.append(_database)
    app.cleanup_ctx.append(_parts)
    app.on_shutdown.append(_close_sockets)
    return app


def jobs(app: web.Application) -> Sequence[Job]:
    alerting = Alerting(app[POOL], app[SETTINGS], app[ALERT_RECEIVERS], sees_money=True)
    return [
        Job("listener", app[LISTENER].run, shows=True),
        Job("feed", partial(_until_stopped, partial(app[SNAPSHOT_FEED].follow, app[LISTENER])), shows=True),
        Job("board", partial(_until_stopped, partial(app[STATUS_BOARD].follow, app[LISTENER])), shows=True),
        Job("history", partial(_until_stopped, app[HISTORY].follow), shows=True),
        Job("hub", partial(_until_stopped, app[HUB].run_rounds), shows=True),
        Job("admin_sockets", partial(_until_stopped, app[ADMIN_SOCKETS].run_rounds), shows=True),
        Job("key_uses", app[KEY_USES].run),
        Job("builtin_billing", app[BUILTIN_BILLING].run),
        Job("alerting", alerting.run),
    ]


async def _until_stopped(endless: Callable[[], Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run something that holds nothing to finish, and cancel it at the stop."""
    await race(endless(), stop.wait())


async def _database(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    async with (
        suitable_pool(settings, service="web") as app[POOL],
        open_reader(settings, app[POOL], service="web") as app[READER],
    ):
        yield


async def _parts(app: web.Application) -> AsyncIterator[None]:
    settings, pool = app[SETTINGS], app[POOL]
    redis = open_shared_redis(settings)
    channels = {*feed.CHANNELS, *board.CHANNELS, *charging_loop.CHANNELS}
    app[LISTENER] = Listener(settings.listen_dsn, channels, service="web")
    app[HUB] = Hub(clients_max=settings.ws_clients_max, clients_per_address=settings.ws_clients_per_address)
    app[SNAPSHOT_FEED] = SnapshotFeed(
        pool,
        billing_interval=settings.billing_interval,
        publish=app[HUB].publish,
        renew=app[HUB].renew,
    )
    app[STATUS_BOARD] = StatusBoard(
        pool, announce=app[HUB].announce, database_away=lambda: app[SNAPSHOT_FEED].failing
    )
    app[HISTORY] = HistoryReadings(app[READER])
    app[ADMIN_SOCKETS] = AdminSockets(
        pool, still_sees_details=still_sees_details, billing_interval=settings.billing_interval
    )
    app[KEY_USES] = KeyUses(pool)
    app[CREDENTIAL_MARKS] = CredentialMarks(pool)
    app[PLATFORM_STATISTICS] = PlatformStatisticsCache(app[READER], redis)
    app[BUILTIN_BILLING] = builtin_billing.BuiltinBilling(pool, settings, app[LISTENER])
    app[RATE_LIMITER] = RateLimiter(settings, redis)
    app[sign_in.PASSWORD_CHECKS] = asyncio.Semaphore(sign_in.PASSWORD_CHECKS_AT_ONCE)
    yield
    if redis is not None:
        await redis.close()


async def _close_sockets(app: web.Application) -> None:
    await app[HUB].close()


async def _reasons_not_ready(app: web.Application) -> list[str]:
    """Look at this process's own connections only."""
    reasons = []
    if not app[LISTENER].connected:
        reasons.append("not listening for changes")
    if not app[SNAPSHOT_FEED].healthy:
        reasons.append("the database does not answer")
    return reasons


def _activity(app: web.Application) -> str:
    age = app[SNAPSHOT_FEED].age_seconds()
    known = "never read" if age is None else f"read {age:.0f} s ago"
    return f"Serving {len(app[HUB])} browsers; the status was {known}"


def _stuck(app: web.Application, allowed: timedelta) -> str | None:
    # Without the database each look fails in its time, and pages say how old they are: that is no reason to end.
    standing = app[SNAPSHOT_FEED].standing_still
    if standing <= max(allowed, _LOOK_TAKES_MAX):
        return None
    return f"the status was not looked at for {standing.total_seconds():.0f} s"
