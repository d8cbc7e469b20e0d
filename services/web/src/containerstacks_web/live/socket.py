"""The WebSocket at /ws/status: the full state on connect, then each newer one.

Messages from browsers are counted, limited and ignored.
"""

import asyncio
import sys
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.http.authorization import assert_may
from containerstacks_web.http.client_address import Visitor, is_same_origin, visitor_of
from containerstacks_web.http.identity import IDENTITY
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused
from containerstacks_web.settings import SETTINGS

from .admin_sockets import ADMIN_SOCKETS, ENDED, AdminSocket
from .frames import text_frame
from .hub import HUB, Refusal
from .messages import Topic, parse_topics

# Pings find dead connections; half of this is how long a pong may take.
_HEARTBEAT_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 2.0
_INBOUND_BYTES_MAX: Final = 1024
_INBOUND_MESSAGES_MAX: Final = 20
_INBOUND_PERIOD_SECONDS: Final = 10.0


async def status_socket(request: web.Request) -> web.StreamResponse:
    visitor = visitor_of(request)
    hub = request.app[HUB]
    _assert_origin(request, visitor)
    topics = _topics(request)
    socket = web.WebSocketResponse(
        heartbeat=_HEARTBEAT_SECONDS,
        timeout=_CLOSE_SECONDS,
        compress=False,
        # Answered below, where they are counted.
        autoping=False,
        max_msg_size=_INBOUND_BYTES_MAX,
        # Never wait for a full send buffer: the hub checks it before it sends more.
        writer_limit=sys.maxsize,
    )
    _assert_handshake(request, socket)
    _assert_welcome(hub.refusal(visitor.limit_key))
    await socket.prepare(request)
    transport = request.transport
    if transport is None:
        # Gone already.
        return socket
    browser = _Browser(transport, socket, visitor.limit_key, topics)
    hub.add(browser)
    admin = None
    if request[IDENTITY].sees_details:
        admin = AdminSocket(
            request=request,
            send=browser.send_details,
            end=browser.end,
            wants_details=Topic.DETAILS in topics,
        )
        request.app[ADMIN_SOCKETS].add(admin)
    try:
        await _ignore_messages(socket)
    finally:
        hub.remove(browser)
        if admin is not None:
            request.app[ADMIN_SOCKETS].remove(admin)
    return socket


def _topics(request: web.Request) -> frozenset[Topic]:
    try:
        topics = parse_topics(request.query.get("topics"))
    except ValueError:
        known = ", ".join(Topic)
        raise RequestRefused(
            ProblemType.INVALID_PARAMETER,
            f"topics takes these, with commas: {known}.",
        ) from None
    if Topic.DETAILS in topics:
        assert_may(request, Permission.READ)
    return topics


class _Browser:
    """A connected browser, as the hub sees it."""

    def __init__(
        self,
        transport: asyncio.Transport,
        socket: web.WebSocketResponse,
        address_key: str,
        topics: frozenset[Topic],
    ) -> None:
        self._transport = transport
        self._socket = socket
        self._address_key = address_key
        self._wants_status = Topic.STATUS in topics
        self._wants_announcements = Topic.INCIDENTS in topics

    @property
    def address_key(self) -> str:
        return self._address_key

    @property
    def wants_announcements(self) -> bool:
        return self._wants_announcements

    def unsent_bytes(self) -> int:
        # A connection that is gone takes a message, which goes nowhere.
        return self._transport.get_write_buffer_size()

    def send(self, frame: bytes) -> None:
        if self._wants_status:
            self._write(frame)

    def send_announcement(self, frame: bytes) -> None:
        self._write(frame)

    def send_details(self, message: bytes) -> None:
        # The next one comes soon, and replaces what a slow browser misses.
        if self.unsent_bytes() == 0:
            self._write(text_frame(message))

    def _write(self, frame: bytes) -> None:
        # The handler notices the end of the connection by itself; after a close frame nothing may follow.
        if self._transport.is_closing() or self._socket.closed:
            return
        # Past aiohttp, which would frame the same message again for every browser.
        self._transport.write(frame)

    async def close_for_restart(self) -> None:
        with suppress(ConnectionError, TimeoutError):
            await self._socket.close(code=WSCloseCode.SERVICE_RESTART, message=b"restarting")

    async def end(self) -> None:
        """Close the socket: its credential is no longer valid."""
        with suppress(ConnectionError, TimeoutError):
            await self._socket.close(code=ENDED, message=b"signed out")

    def abort(self) -> None:
        self._transport.abort()


async def _ignore_messages(socket: web.WebSocketResponse) -> None:
    """Read until the connection ends; a browser that sends too much is disconnected.

    Pings count too: a client that sends them without reading would pile up answers here.
    """
    clock = asyncio.get_running_loop().time
    count, since = 0, clock()
    async for message in socket:
        if clock() - since > _INBOUND_PERIOD_SECONDS:
            count, since = 0, clock()
        count += 1
        if count > _INBOUND_MESSAGES_MAX:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too many messages")
            return
        if message.type is WSMsgType.PING:
            with suppress(ConnectionError):
                await socket.pong(message.data)


def _assert_origin(request: web.Request, visitor: Visitor) -> None:
    """Browsers name the page that opens a socket: one of ours, or of a site that may read this. Programs name none."""
    origin = request.headers.get("Origin")
    if origin is None or is_same_origin(origin, visitor.host):
        return
    # A session's cookie may have come along without that site's knowing; a public socket is all it may open.
    if request.app[SETTINGS].allows_origin(origin) and not request[IDENTITY].sees_details:
        return
    raise RequestRefused(ProblemType.FOREIGN_ORIGIN, "This page may not open a socket here.")


def _assert_handshake(request: web.Request, socket: web.WebSocketResponse) -> None:
    if not socket.can_prepare(request).ok:
        raise RequestRefused(
            ProblemType.UPGRADE_REQUIRED,
            "This address is a WebSocket, and the request is not a handshake.",
            headers={"Upgrade": "websocket", "Connection": "Upgrade"},
        )


def _assert_welcome(refusal: Refusal | None) -> None:
    match refusal:
        case None:
            return
        case Refusal.FULL_FOR_ADDRESS:
            problem, detail = ProblemType.TOO_MANY_CONNECTIONS, "Too many connections from this address."
        case Refusal.FULL:
            problem, detail = ProblemType.AT_CAPACITY, "This server has reached its limit of connections."
        case Refusal.CLOSING:
            problem, detail = ProblemType.AT_CAPACITY, "This server is restarting."
    raise RequestRefused(problem, detail, headers={"Retry-After": "5"})
