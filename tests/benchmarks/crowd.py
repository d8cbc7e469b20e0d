"""Many browsers in one process: `python -m benchmarks.crowd HOST PORT PATH CLIENTS [at-once]`.

Each holds a WebSocket and notes when it first had which number of instances in error. Says `ready` when all are
connected, and for each line on its standard input writes down, as one line of JSON, what came since the last one. On
Linux all processes read the same monotonic clock.

Browsers share the cores with the server that is measured, and must not decide the figure. So the kernel stamps each
message when it reaches its socket, and this process reads it later: it looks when all others have theirs, and then only
when the cores have nothing better to do. Where one message follows the other, it must read `at-once`, or several would
come in one piece.
"""

import json
import os
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Final

_NUMBER = re.compile(rb'"error":(\d+)')
# Neither stands in a message, which is ASCII. Who does not answer is taken for dead after half a minute.
_PING = b"\x89\x00"
_PONG = b"\x8a\x80\x00\x00\x00\x00"
# More at once would only queue at the server's door.
_CONNECTING_AT_ONCE = 50
_CONNECT_SECONDS = 30.0
_READ_BYTES = 65_536
# Longer than a message takes to all, and shorter than the time to the next one, which would come in one piece with it.
_LOOK_SECONDS = 0.04
_LOWEST_PRIORITY = 19
# Python's socket module lacks the name. What comes with a message is a timespec of the wall clock.
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC = struct.Struct("qq")


class Browser:
    """Reads frames without taking them apart: the number stands in them as plain text."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.seen: list[tuple[int, float]] = []
        self._newest = -1
        self.connection = socket.socket()
        self.connection.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.connection.settimeout(_CONNECT_SECONDS)
        self.connection.connect((host, port))
        self.connection.sendall(request)

    def wait_for_welcome(self) -> None:
        data = self.read()
        if not data.startswith(b"HTTP/1.1 101"):
            message = f"refused: {data[:80]!r}"
            raise RuntimeError(message)

    def read(self) -> bytes:
        """Note what came, with the kernel's time of the last of it."""
        data, extra, _, _ = self.connection.recvmsg(_READ_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))
        if not data:
            message = "the server closed a connection"
            raise RuntimeError(message)
        numbers = _NUMBER.findall(data)
        if numbers and (newest := int(numbers[-1])) > self._newest:
            self._newest = newest
            self.seen.append((newest, _monotonic(extra[0][2])))
        if _PING in data:
            self.connection.sendall(_PONG)
        return data


def _monotonic(timespec: bytes) -> float:
    seconds, nanoseconds = _TIMESPEC.unpack(timespec)
    ago: int = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
    return (time.monotonic_ns() - ago) / 1_000_000_000


def upgrade_request(path: str, port: int) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def _connected(host: str, port: int, path: str, clients: int) -> Iterator[Browser]:
    request = upgrade_request(path, port)
    for first in range(0, clients, _CONNECTING_AT_ONCE):
        some = [Browser(host, port, request) for _ in range(min(_CONNECTING_AT_ONCE, clients - first))]
        for browser in some:
            browser.wait_for_welcome()
            yield browser


def main(host: str, port: int, path: str, clients: int, *, reads_at_once: bool) -> None:
    browsers = {browser.connection.fileno(): browser for browser in _connected(host, port, path, clients)}
    if not reads_at_once:
        os.nice(_LOWEST_PRIORITY)
    waiting = select.epoll()
    for number in (sys.stdin.fileno(), *browsers):
        waiting.register(number, select.EPOLLIN)
    print("ready", flush=True)  # noqa: T201 - spoken to the benchmark
    while True:
        waiting.poll()
        if not reads_at_once:
            time.sleep(_LOOK_SECONDS)
        for number, _ in waiting.poll(0):
            if number in browsers:
                browsers[number].read()
            elif sys.stdin.readline():
                print(json.dumps([browser.seen for browser in browsers.values()]), flush=True)  # noqa: T201
                for browser in browsers.values():
                    browser.seen = []
            else:
                return


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]),
        sys.argv[3],
        int(sys.argv[4]),
        reads_at_once=sys.argv[5:] == ["at-once"],
    )
