"""Endpoints for supervisors, load balancers and monitoring: liveness, readiness, metrics.

Liveness depends on nothing else: a database outage must not make a supervisor restart a process that would
recover by itself. Readiness looks at this process's own connections only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from containerstacks_shared.core.metrics import metrics_handler
from containerstacks_shared.database import db
from containerstacks_shared.database.notify import Listener

# Set by `run_service` before the application starts; from then on a stopping process is not ready.
STOPPING: Final = web.AppKey("stopping", asyncio.Event)

_READY_SECONDS_MAX: Final = 2.0

Ready = Callable[[web.Application], Awaitable[list[str]]]

_READY: Final[web.AppKey[Ready]] = web.AppKey("ready")


def add_probes(app: web.Application, ready: Ready) -> None:
    """Serve /healthz, /readyz and /metrics. `ready` returns the reasons for not being ready."""
    app[_READY] = ready
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", metrics_handler)


async def reasons_not_ready(app: web.Application) -> list[str]:
    """Return why this process is not ready; empty when it is."""
    stopping = app.get(STOPPING)
    if stopping is not None and stopping.is_set():
        return ["stopping"]
    ready = app.get(_READY)
    if ready is None:
        return []
    try:
        async with asyncio.timeout(_READY_SECONDS_MAX):
            return await ready(app)
    except TimeoutError:
        return [f"the answer took longer than {_READY_SECONDS_MAX:.0f} seconds"]


async def connection_problems(listener: Listener, pool: db.Pool) -> list[str]:
    """Return what is wrong with a process's connections to the database."""
    problems = [] if listener.connected else ["not listening for changes"]
    try:
        async with pool.acquire() as connection:
            await db.heartbeat(connection)
    except db.FAILURES:
        problems.append("the database is away")
    return problems


async def _healthz(_request: web.Request) -> web.Response:
    return _answer({"status": "alive"})


async def _readyz(request: web.Request) -> web.Response:
    reasons = await reasons_not_ready(request.app)
    if reasons:
        return _answer({"status": "not ready", "reasons": reasons}, status=503)
    return _answer({"status": "ready"})


def _answer(document: dict[str, object], *, status: int = 200) -> web.Response:
    return web.json_response(document, status=status, headers={"Cache-Control": "no-store"})
