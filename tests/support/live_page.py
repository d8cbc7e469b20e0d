"""What an open browser page receives: the messages of one WebSocket."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from support.processes import Service
from support.waiting import LIMIT_SECONDS, time_limit


class LivePage:
    """One connected socket; `versions` are those of the messages seen so far."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.versions: list[int] = []

    async def next(self, within: float = LIMIT_SECONDS) -> dict[str, Any]:
        async with time_limit("no message on the socket", within=within):
            message: dict[str, Any] = await self._socket.receive_json()
        assert message["type"] == "status", message
        self.versions.append(message["version"])
        return message

    async def next_with(self, within: float = LIMIT_SECONDS, **by_status: int) -> dict[str, Any]:
        """Return the first message that shows these counts."""
        message = None
        async with time_limit(f"no message with {by_status}", within=within):
            while message is None or not by_status.items() <= message["vps"]["byStatus"].items():
                message = await self.next(within)
        return message


@contextlib.asynccontextmanager
async def open_page(web: Service) -> AsyncIterator[LivePage]:
    async with (
        aiohttp.ClientSession(headers={"Origin": web.url}) as session,
        session.ws_connect(f"{web.url}/ws/status") as socket,
    ):
        yield LivePage(socket)
