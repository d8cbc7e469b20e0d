"""A webhook that keeps the alerts it was sent, and can refuse them or keep the sender waiting."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

# Part of the URL, and must not appear anywhere else.
TOKEN = "token-0123456789abcdef"
PASSWORD = "pass-fedcba9876543210"


@dataclass
class AlertReceiver:
    """Answers with `status`, once `open` is set. `calls` counts what it was asked, answered or not."""

    url: str = ""
    status: int = 200
    titles: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    calls: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        document = await request.json()
        self.calls += 1
        await self.open.wait()
        if self.status == 200:
            self.titles.append(document["title"])
            self.bodies.append(document["message"])
        return web.Response(status=self.status)


@contextlib.asynccontextmanager
async def alert_receiver() -> AsyncIterator[AlertReceiver]:
    receiver = AlertReceiver()
    receiver.open.set()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.take)
    server = TestServer(app, host="127.0.0.1")
    # Only the sender's log is of interest.
    await server.start_server(access_log=None)
    try:
        receiver.url = f"json://operator:{PASSWORD}@127.0.0.1:{server.port}/{TOKEN}"
        yield receiver
    finally:
        receiver.open.set()
        await server.close()
