"""Reporting to the service manager: ready, alive and making progress, stopping.

A keep-alive proves two things: the event loop runs, since it sends it, and the work makes progress, which each
service judges by its own `stuck`. The manager restarts a process that sends none. A process without a database is
not stuck: a restart would not bring the database back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.core.waiting import wait_for_event

from .probes import reasons_not_ready
from .service_manager import ServiceManager

_NOT_READY_SECONDS: Final = 0.2
# Without a watchdog only the status line is sent.
_TELL_EVERY: Final = timedelta(seconds=20)
# One keep-alive may come late, or be lost.
_PER_WATCHDOG: Final = 3

_log = structlog.get_logger(__name__)


def _works(_app: web.Application) -> str:
    return "Working"


def _gets_on(_app: web.Application, _allowed: timedelta) -> str | None:
    return None


@dataclass(frozen=True)
class Account:
    """What a service reports.

    `activity` is a line for operators. `stuck` says why the process should be ended, if so; work that goes on step by
    step is stuck when no step has ended for as long as `allowed`.
    """

    activity: Callable[[web.Application], str] = _works
    stuck: Callable[[web.Application, timedelta], str | None] = _gets_on


async def report_until(
    stop: asyncio.Event, *, app: web.Application, account: Account, manager: ServiceManager
) -> None:
    while not stop.is_set() and (reasons := await reasons_not_ready(app)):
        manager.notify(f"STATUS=Starting: {_line(reasons)}")
        await wait_for_event(stop, _NOT_READY_SECONDS)
    allowed = manager.watchdog or _TELL_EVERY
    was_stuck = False
    if not stop.is_set():
        manager.notify("READY=1", f"STATUS={account.activity(app)}")
    while not await wait_for_event(stop, allowed.total_seconds() / _PER_WATCHDOG):
        stuck = account.stuck(app, allowed)
        if stuck is None:
            reasons = await reasons_not_ready(app)
            line = f"Not ready: {_line(reasons)}" if reasons else account.activity(app)
            manager.notify("WATCHDOG=1", f"STATUS={line}")
        else:
            manager.notify(f"STATUS=Stuck: {stuck}")
            if not was_stuck:
                _log.error("supervision.stuck", problem=stuck)
        was_stuck = stuck is not None
    manager.notify("STOPPING=1", "STATUS=Stopping: finishing work in progress")


def _line(reasons: list[str]) -> str:
    return ", ".join(reasons)
