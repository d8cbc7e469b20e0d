"""Many browsers in one process: `python -m benchmarks.crowd HOST PORT PATH CLIENTS`.

Each holds a WebSocket and notes when it first saw which number of instances in error. Says `ready` when all are
connected, and for each line on its standard input writes down, as one line of JSON, what came since the last one. On
Linux all processes read the same monotonic clock.
"""

import asyncio
import json
import re
import sys
import time
from functools import partial
from typing import cast

import uvloop

_NUMBER = re.compile(rb'"error":(\d+)')
# Neither stands in a message, which is ASCII. Who does not answer is taken for dead after half a minute.
_PING = b"\x89\x00"
_PONG = b"\x8a\x80\x00\x00\x00\x00"
# More at once would only queue at the server's door.
_CONNECTING_AT_ONCE = 50


class Browser(asyncio.Protocol):
    """Reads frames without taking them apart: the number stands in them as plain text."""

    def __init__(self, request: bytes) -> None:
        self.seen: list[tuple[int, float]] = []
        self.connected = asyncio.get_running_loop().create_future()
        self._request = request
        self._newest = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        numbers = _NUMBER.findall(data)
        if numbers and (newest := int(numbers[-1])) > self._newest:
            self._newest = newest
            self.seen.append((newest, now))
        if _PING in data:
            self._transport.write(_PONG)
        if not self.connected.done():
            if not data.startswith(b"HTTP/1.1 101"):
                message = f"refused: {data[:80]!r}"
                raise RuntimeError(message)
            self.connected.set_result(None)


def _itself(browser: Browser) -> Browser:
    return browser


def upgrade_request(path: str, port: int) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


async def main(host: str, port: int, path: str, clients: int) -> None:
    loop = asyncio.get_running_loop()
    request = upgrade_request(path, port)
    browsers = [Browser(request) for _ in range(clients)]
    for first in range(0, clients, _CONNECTING_AT_ONCE):
        some = browsers[first : first + _CONNECTING_AT_ONCE]
        await asyncio.gather(
            *(loop.create_connection(partial(_itself, browser), host, port) for browser in some)
        )
        await asyncio.gather(*(browser.connected for browser in some))
    print("ready", flush=True)  # noqa: T201 - spoken to the benchmark
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps([browser.seen for browser in browsers]), flush=True)  # noqa: T201
        for browser in browsers:
            browser.seen = []


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
