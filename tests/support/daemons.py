"""A billing daemon in the test's own process: all of it but the signals."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from containerstacks_billing_daemon import status_file
from containerstacks_billing_daemon.app import create_app, jobs
from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_billing_daemon.status_file import StatusDocument, StatusFile
from support.jobs import running


@dataclass(frozen=True)
class Daemon:
    """A running daemon: its probes, and its status file, which outlives it."""

    client: TestClient[web.Request, web.Application]
    path: Path

    def file(self) -> StatusDocument | None:
        return status_file.read(self.path)

    async def metric(self, name: str) -> float:
        text = await (await self.client.get("/metrics")).text()
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def is_ready(self) -> bool:
        return (await self.client.get("/readyz")).status == 200


# Runs a daemon for the length of a block.
Start = Callable[[], AbstractAsyncContextManager[Daemon]]


@contextlib.asynccontextmanager
async def running_daemon(settings: BillingDaemonSettings, path: Path) -> AsyncIterator[Daemon]:
    app = create_app(settings, StatusFile(path))
    async with TestClient(TestServer(app)) as client, running(*jobs(app)):
        yield Daemon(client, path)
