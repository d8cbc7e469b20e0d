"""Requests as fast as they are answered: `python -m benchmarks.requester CONNECTIONS`.

Each line on its standard input, `PORT PATH SECONDS`, is answered by the requests per second.
"""

import asyncio
import sys
import time
from functools import partial
from typing import cast

import uvloop

_LENGTH = b"Content-Length: "


class Connection(asyncio.Protocol):
    """Asks again as soon as the answer is whole."""

    def __init__(self, request: bytes) -> None:
        self.answers = 0
        self.over = False
        self.closed = asyncio.get_running_loop().create_future()
        self._request = request
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing == 0:
            assert data.startswith(b"HTTP/1.1 200"), data[:200]
            head = data.index(b"\r\n\r\n") + 4
            begins = data.index(_LENGTH) + len(_LENGTH)
            self._missing = head + int(data[begins : data.index(b"\r", begins)])
        self._missing -= len(data)
        if self._missing == 0:
            self.answers += 1
            if self.over:
                self._transport.close()
            else:
                self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set_result(error)


def _itself(connection: Connection) -> Connection:
    return connection


async def ask(connections: int, port: int, path: str, seconds: float) -> float:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: gzip\r\nAccept: */*\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    asking = [Connection(request) for _ in range(connections)]
    began = time.perf_counter()
    await asyncio.gather(
        *(loop.create_connection(partial(_itself, one), "127.0.0.1", port) for one in asking)
    )
    await asyncio.sleep(seconds)
    for one in asking:
        one.over = True
    await asyncio.gather(*(one.closed for one in asking))
    return sum(one.answers for one in asking) / (time.perf_counter() - began)


async def main(connections: int) -> None:
    loop = asyncio.get_running_loop()
    print("ready", flush=True)  # noqa: T201 - spoken to the benchmark
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        rate = await ask(connections, int(line[0]), line[1], float(line[2]))
        print(rate, flush=True)  # noqa: T201


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
