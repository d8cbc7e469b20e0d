"""What the environment says of the service manager, and what counts as standing still."""

import asyncio
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web

from containerstacks_shared.billing import stall_watch
from containerstacks_shared.billing.stall_watch import StallWatch
from containerstacks_shared.database.db import Pool
from containerstacks_shared.process.service_manager import ServiceManager
from containerstacks_web import app as web_service
from containerstacks_web.live.feed import SNAPSHOT_FEED, SnapshotFeed


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, timedelta(seconds=30)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, timedelta(seconds=30)),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_when_it_is_ours(environment: dict[str, str], watchdog: timedelta | None) -> None:
    manager = ServiceManager.from_environment(environment | {"NOTIFY_SOCKET": "/run/notify"})
    assert manager is not None
    assert manager.watchdog == watchdog


def test_without_a_notify_socket_there_is_no_service_manager() -> None:
    assert ServiceManager.from_environment({"WATCHDOG_USEC": "30000000"}) is None
    assert ServiceManager.from_environment({"NOTIFY_SOCKET": ""}) is None


def test_a_manager_that_does_not_read_or_is_gone_delays_no_service(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    manager = ServiceManager(str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as never_read:
        never_read.bind(str(path))
        # Far more than its queue holds.
        for _ in range(5000):
            manager.notify("WATCHDOG=1")
    manager.notify("WATCHDOG=1")


async def test_a_daemon_that_leads_and_cannot_look_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = StallWatch(timedelta(hours=1))
    assert watch.stuck is None
    watch._read_at = 0.0
    monkeypatch.setattr(stall_watch, "patience", lambda _interval: timedelta(seconds=-1))
    assert watch.stuck is not None


@pytest.mark.parametrize(
    ("ago", "watchdog", "stuck"),
    [
        (timedelta(seconds=14), timedelta(seconds=1), None),
        (timedelta(seconds=16), timedelta(seconds=1), "the status was not looked at for 16 s"),
        (timedelta(seconds=59), timedelta(seconds=60), None),
        (timedelta(seconds=61), timedelta(seconds=60), "the status was not looked at for 61 s"),
    ],
)
async def test_web_is_stuck_when_it_has_not_looked_for_longer_than_a_look_takes(
    ago: timedelta, watchdog: timedelta, stuck: str | None
) -> None:
    app = web.Application()
    nobody: list[bytes] = []
    app[SNAPSHOT_FEED] = SnapshotFeed(
        cast(Pool, None), billing_interval=timedelta(hours=1), publish=nobody.append, renew=nobody.append
    )
    assert web_service._stuck(app, watchdog) is None, "it has not begun to look"
    app[SNAPSHOT_FEED]._tried_at = asyncio.get_running_loop().time() - ago.total_seconds()
    assert web_service._stuck(app, watchdog) == stuck
