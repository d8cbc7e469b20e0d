"""HTTP connections of clients that are slow, or that send something other than HTTP.

aiohttp waits as long for the rest of a request's head as for the next request, and answers a malformed one in its
own words. Here the head has a limit of its own, and the answer is problem details without a word of what was sent.

This is the one module that depends on how aiohttp works inside, by overriding methods of its request handler. A test
names the release of aiohttp for which this was checked.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

HEAD_SECONDS_MAX: Final = 10.0
# Longer than proxies keep their connections to us, so that none is closed under a request of theirs.
IDLE_SECONDS_MAX: Final = 75.0


class GuardedRunner(web.AppRunner):
    """Runs an application behind guarded connections."""

    def __init__(
        self,
        app: web.Application,
        *,
        head_seconds_max: float = HEAD_SECONDS_MAX,
        keepalive_timeout: float = IDLE_SECONDS_MAX,
        **options: Any,
    ) -> None:
        super().__init__(app, **options)
        self._head_seconds_max = head_seconds_max
        self._idle_seconds_max = keepalive_timeout
        self._guarded: _GuardedServer | None = None

    @property
    def server(self) -> web.Server | None:
        """Return what makes a handler for each connection; None before `setup`."""
        if self._guarded is None and (plain := super().server) is not None:
            self._guarded = _GuardedServer(plain, self._head_seconds_max, self._idle_seconds_max)
        return self._guarded


class _GuardedServer(web.Server):
    """Makes handlers that `plain`, the application's own server, keeps and closes."""

    def __init__(self, plain: web.Server, head_seconds_max: float, idle_seconds_max: float) -> None:
        super().__init__(plain.request_handler)
        self._plain = plain
        self._head_seconds_max = head_seconds_max
        self._idle_seconds_max = idle_seconds_max
        make_request = plain.request_factory

        def begin_request(*parts: Any) -> web.BaseRequest:
            request = make_request(*parts)
            assert isinstance(request.protocol, _GuardedHandler)
            request.protocol.begin_request()
            return request

        plain.request_factory = begin_request

    def __call__(self) -> web.RequestHandler:
        return _GuardedHandler(
            self._plain,
            head_seconds_max=self._head_seconds_max,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._idle_seconds_max,
            # Longer ones aiohttp moves to whole seconds, where the pings to thousands of browsers would meet.
            timeout_ceil_threshold=self._idle_seconds_max,
            access_log=None,
            # A small body needs no compression, and a compressed one may turn out to be large.
            auto_decompress=False,
        )


class _GuardedHandler(web.RequestHandler):
    """`_head_limit` runs while a head is incomplete: from the connection's start, then from a head's first byte."""

    __slots__ = ("_head_limit", "_head_seconds_max", "_in_request")

    def __init__(self, manager: web.Server, *, head_seconds_max: float, **options: Any) -> None:
        super().__init__(manager, **options)
        self._head_seconds_max = head_seconds_max
        self._head_limit: asyncio.TimerHandle | None = None
        self._in_request = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._set_head_limit()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lift_head_limit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # With a whole head nothing is left to wait for; a timer for each request would be a tenth of its cost.
        if data and self._head_limit is None and not self._in_request and not self._messages:
            self._set_head_limit()

    def begin_request(self) -> None:
        self._in_request = True
        self._lift_head_limit()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        # aiohttp refuses this before the middlewares run, quoting the client's header.
        if isinstance(resp, web.HTTPExpectationFailed):
            resp = _problem(HTTPStatus.EXPECTATION_FAILED)
        finished = await super().finish_response(request, resp, start_time)
        self._in_request = False
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != HTTPStatus.BAD_REQUEST:
            # The middlewares answer every error, so one that gets here is a bug, and logged as one.
            super().handle_error(request, status, exc, message)
        elif isinstance(exc, LineTooLong):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        response = _problem(HTTPStatus(status))
        response.force_close()
        return response

    def _set_head_limit(self) -> None:
        loop = asyncio.get_running_loop()
        self._head_limit = loop.call_later(self._head_seconds_max, self.force_close)

    def _lift_head_limit(self) -> None:
        if self._head_limit is not None:
            self._head_limit.cancel()
            self._head_limit = None


_DETAILS: Final = {
    HTTPStatus.BAD_REQUEST: "This is not HTTP as this service understands it.",
    HTTPStatus.EXPECTATION_FAILED: "The only expectation that this service meets is 100-continue.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The address or a header is longer than this service accepts.",
}
# Web has a page for each of these: its kinds of problems hold them, and a test both together.
_TYPES: Final = {
    HTTPStatus.BAD_REQUEST: ("malformed-http", "Malformed HTTP"),
    HTTPStatus.EXPECTATION_FAILED: ("expectation-failed", "Expectation failed"),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: ("header-too-large", "Header too large"),
}
_OUR_MISTAKE: Final = ("internal-error", "Internal error")


def _problem(status: HTTPStatus) -> web.Response:
    request_id = str(uuid4())
    name, title = _TYPES.get(status, _OUR_MISTAKE)
    problem = {
        "type": f"/problems/{name}",
        "title": title,
        "status": status,
        "detail": _DETAILS.get(status, "Something went wrong on our side."),
        "requestId": request_id,
        "success": False,
    }
    return web.Response(
        status=status,
        body=json.dumps(problem).encode(),
        content_type="application/problem+json",
        headers={
            "Cache-Control": "no-store",
            "Server": "containerstacks",
            "X-Content-Type-Options": "nosniff",
            "X-Request-ID": request_id,
        },
    )
