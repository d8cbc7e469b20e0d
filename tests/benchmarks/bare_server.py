"""The floor of the live path and of HTTP: `python -m benchmarks.bare_server DSN PORT`.

A listener whose callback writes the same bytes to every WebSocket at once, and a handler that returns bytes
which it was given. No state, no limits, no checks.
"""

import asyncio
import sys

import asyncpg
import uvloop
from aiohttp import web

from containerstacks_web.live.frames import text_frame

CHANNEL = "benchmark"
# As long as a real one.
MESSAGE = (
    '{"type":"status","version":123456,"timestamp":"2026-01-01T00:00:00.000000Z","vps":{"total":1000,'
    '"byStatus":{"running":1000,"stopped":0,"provisioning":0,"rebooting":0,"error":%s,"other":0},'
    '"resources":{"totalVCPUs":2000,"totalMemoryGB":4000,"totalDiskGB":80000}},"daemon":{"status":"unknown",'
    '"lastRun":null,"lastRunBy":null,"lastSuccessfulRun":null,"lastRunSuccess":null,"instancesBilled":0,'
    '"nextScheduledRun":"2026-01-01T00:00:00.000000Z","uptimeMinutes":null,"isStale":true,'
    '"warningThresholdExceeded":true,"activeBiller":"builtin"}}'
)


class BareServer:
    def __init__(self) -> None:
        self._transports: set[asyncio.Transport] = set()
        self._bodies: dict[str, tuple[bytes, dict[str, str]]] = {}

    async def socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        transport = request.transport
        assert transport is not None
        self._transports.add(transport)
        try:
            async for _ in socket:
                pass
        finally:
            self._transports.discard(transport)
        return socket

    async def keep(self, request: web.Request) -> web.Response:
        headers = {
            name: request.headers[name]
            for name in ("Content-Type", "Content-Encoding")
            if name in request.headers
        }
        body = (
            b""
            if request.content_length is None
            else await request.content.readexactly(request.content_length)
        )
        self._bodies[request.path] = (body, headers)
        return web.Response()

    async def give(self, request: web.Request) -> web.Response:
        if request.path not in self._bodies:
            raise web.HTTPNotFound
        body, headers = self._bodies[request.path]
        return web.Response(body=body, headers=headers)

    def fan_out(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        frame = text_frame((MESSAGE % payload).encode())
        for transport in self._transports:
            transport.write(frame)


async def main(dsn: str, port: int) -> None:
    server = BareServer()
    app = web.Application()
    app.router.add_get("/ws", server.socket)
    app.router.add_put("/{path:.+}", server.keep)
    app.router.add_get("/{path:.+}", server.give)
    connection = await asyncpg.connect(dsn)
    await connection.add_listener(CHANNEL, server.fan_out)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("ready", flush=True)  # noqa: T201 - spoken to the benchmark
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
