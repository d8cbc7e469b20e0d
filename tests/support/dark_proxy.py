"""A TCP proxy that can go dark: connections stay open, and nothing passes any more. Or it cuts them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 65536
_HOST = "127.0.0.1"


@dataclass(eq=False)
class _Connection:
    light: asyncio.Event = field(default_factory=asyncio.Event)


class DarkProxy:
    """Stands before a PostgreSQL server or a web service; its `dsn` or `url` leads through it."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._dark = False
        self._cut = False
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        # The answer that darkness waits for, and the connection on which it came.
        self._awaited: bytes | None = None
        self._caught: _Connection | None = None
        self._catching = asyncio.Event()
        # Somebody came while it hung up on everybody.
        self.hung_up = asyncio.Event()
        self.url = ""

    @property
    def dsn(self) -> str:
        return self.url

    def go_dark(self) -> None:
        self._dark = True
        self.lose_connections()

    def go_light(self) -> None:
        """Let new and old connections pass again; what was sent into the dark arrives now."""
        self._dark = self._cut = False
        for connection in self._connections.values():
            connection.light.set()

    def lose_connections(self) -> None:
        """Let nothing pass on the present connections any more; new ones work."""
        for connection in self._connections.values():
            connection.light.clear()

    def cut(self) -> None:
        """Close every connection, and every new one, until it goes light."""
        self._cut = True
        for task in self._connections:
            task.cancel()

    def go_dark_at(self, answer: bytes) -> asyncio.Event:
        """Go dark before the next answer of the server that contains these bytes; the event is set then."""
        self._awaited, self._caught = answer, None
        self._catching = asyncio.Event()
        return self._catching

    def let_answer_pass(self) -> None:
        """Light the connection on which that answer came, and no other."""
        assert self._caught is not None
        self._caught.light.set()

    async def serve(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._accept, _HOST, 0)
        port = server.sockets[0].getsockname()[1]
        user, at, _ = self._target.netloc.rpartition("@")
        self.url = urlunsplit(self._target._replace(netloc=f"{user}{at}{_HOST}:{port}"))
        try:
            yield
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            self.hung_up.set()
            writer.close()
            return
        connection = _Connection()
        if not self._dark:
            connection.light.set()
        task = asyncio.create_task(self._connected(connection, reader, writer))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _connected(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await connection.light.wait()
            try:
                server_reader, server_writer = await asyncio.open_connection(
                    self._target.hostname, self._target.port
                )
            except OSError:
                # No server behind it: the caller is hung up on.
                return
            with contextlib.closing(writer), contextlib.closing(server_writer):
                pumps = [
                    asyncio.create_task(self._pump(connection, reader, server_writer)),
                    asyncio.create_task(self._pump(connection, server_reader, writer, answers=True)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.wait(pumps)
        finally:
            writer.close()

    async def _pump(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        answers: bool = False,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if answers and self._awaited is not None and self._awaited in chunk:
                    self._awaited, self._caught = None, connection
                    self.go_dark()
                    self._catching.set()
                await connection.light.wait()
                writer.write(chunk)
                await writer.drain()
            await connection.light.wait()


@contextlib.asynccontextmanager
async def dark_proxy(target: str) -> AsyncIterator[DarkProxy]:
    proxy = DarkProxy(target)
    async with contextlib.asynccontextmanager(proxy.serve)():
        yield proxy
