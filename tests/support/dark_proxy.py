"""A TCP proxy that can go dark: connections stay open, and nothing passes any more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 65536
_HOST = "127.0.0.1"


class DarkProxy:
    """Stands before a PostgreSQL server; `dsn` leads through it."""

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._light = asyncio.Event()
        self._light.set()
        self._connections: set[asyncio.Task[None]] = set()
        self.dsn = ""

    def go_dark(self) -> None:
        self._light.clear()

    def go_light(self) -> None:
        """Let new and old connections pass again; what was sent into the dark arrives now."""
        self._light.set()

    async def serve(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._connected, _HOST, 0)
        port = server.sockets[0].getsockname()[1]
        user = self._target.netloc.rpartition("@")[0]
        self.dsn = urlunsplit(self._target._replace(netloc=f"{user}@{_HOST}:{port}"))
        try:
            yield
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._light.wait()
            server_reader, server_writer = await asyncio.open_connection(
                self._target.hostname, self._target.port
            )
            with contextlib.closing(writer), contextlib.closing(server_writer):
                pumps = [
                    asyncio.create_task(self._pump(reader, server_writer)),
                    asyncio.create_task(self._pump(server_reader, writer)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.wait(pumps)
        finally:
            writer.close()
            self._connections.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._light.wait()
                writer.write(chunk)
                await writer.drain()
            await self._light.wait()


@contextlib.asynccontextmanager
async def dark_proxy(dsn: str) -> AsyncIterator[DarkProxy]:
    proxy = DarkProxy(dsn)
    async with contextlib.asynccontextmanager(proxy.serve)():
        yield proxy
