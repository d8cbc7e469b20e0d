"""A browser that stops reading delays neither other browsers nor the shutdown."""

import asyncio
import base64
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator

import pytest

from containerstacks_web.live import socket as socket_handler
from containerstacks_web.live.hub import HUB
from support import promises
from support.waiting import eventually, time_limit
from support.web_site import Site, open_site

PATH = "/ws/status"
# What the hub sends here is the test's own.
WITHOUT = ("builtin_billing", "feed")


async def test_a_browser_that_stops_reading_delays_no_other(database_url: str) -> None:
    clock = asyncio.get_running_loop().time
    async with open_site(database_url, without=WITHOUT) as site, never_reading(site):
        hub = site.app[HUB]
        # Far longer than another browser may wait for a message.
        hub.behind_seconds_max = 4.0
        async with site.client.ws_connect(PATH, max_msg_size=0) as browser:
            await eventually(lambda: len(hub) == 2)
            slowest = 0.0
            number = 0
            while len(hub) == 2:
                number += 1
                # Large, so that the system's buffers are full soon.
                hub.publish(json.dumps({"number": number, "filling": "x" * 500_000}).encode())
                published = clock()
                while json.loads(await browser.receive_str(timeout=5)).get("number") != number:
                    pass
                slowest = max(slowest, clock() - published)
                assert number < 400
            assert slowest < promises.SHOWN_SECONDS


async def test_a_browser_that_stops_reading_does_not_delay_the_shutdown(database_url: str) -> None:
    async with open_site(database_url, without=WITHOUT) as site, never_reading(site):
        hub = site.app[HUB]
        await eventually(lambda: len(hub) == 1)
        (client,) = hub._clients
        hub.publish(b"x" * 50_000_000)
        await eventually(lambda: client.unsent_bytes() > 0)
        async with time_limit("the hub did not close"):
            await hub.close()
        await eventually(lambda: len(hub) == 0)


async def test_a_browser_that_vanishes_is_detected(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_handler, "_HEARTBEAT_SECONDS", 0.2)
    async with open_site(database_url, without=WITHOUT) as site, never_reading(site):
        hub = site.app[HUB]
        async with site.client.ws_connect(PATH) as browser:
            # Answers pings, as browsers do by themselves.
            reading = asyncio.ensure_future(browser.receive())
            await eventually(lambda: len(hub) == 2)
            await eventually(lambda: len(hub) == 1)
            assert not reading.done()
            reading.cancel()


@contextlib.asynccontextmanager
async def never_reading(site: Site) -> AsyncIterator[None]:
    """Connect by hand, and leave what arrives where it is: a library would read it."""
    url = site.client.make_url(PATH)
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, (url.host, url.port))
        key = base64.b64encode(os.urandom(16)).decode()
        await loop.sock_sendall(
            connection,
            f"GET {PATH} HTTP/1.1\r\nHost: {url.authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode(),
        )
        assert (await loop.sock_recv(connection, 12)) == b"HTTP/1.1 101"
        yield
