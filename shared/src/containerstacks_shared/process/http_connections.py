"""Connections of clients that take their time, or send what is no HTTP.

aiohttp waits as long for the rest of a request's head as for the next request, and answers a malformed one in its
own words. Here the head has a limit of its own, and the answer is problem details without a word of what was sent.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

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
        # What is small needs no compression, and what is compressed may turn out not to be small.
        super().__init__(app, keepalive_timeout=keepalive_timeout, auto_decompress=False, **options)
        self._guarded_app = app
        self._head_seconds_max = head_seconds_max

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return _GuardedServer(
            plain.request_handler,
            request_factory=plain.request_factory,
            loop=asyncio.get_running_loop(),
            head_seconds_max=self._head_seconds_max,
            **plain._kwargs,  # noqa: SLF001 - what the application and the caller asked for
        )


class _GuardedServer(web.Server):
    def __init__(self, *arguments: Any, head_seconds_max: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.head_seconds_max = head_seconds_max

    def __call__(self) -> RequestHandler:
        return _GuardedHandler(self, loop=self._loop, **self._kwargs)


class _GuardedHandler(RequestHandler):
    """`_head_limit` runs while a head is incomplete: from the connection's start, then from a head's first byte."""

    __slots__ = ("_head_limit", "_head_seconds_max")

    def __init__(self, manager: _GuardedServer, **options: Any) -> None:
        super().__init__(manager, **options)
        self._head_seconds_max = manager.head_seconds_max
        self._head_limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_limit = self._loop.call_later(self._head_seconds_max, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lift_head_limit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._lift_head_limit()
        elif self._head_limit is None and self._waiter is not None and not self._upgraded:
            self._head_limit = self._loop.call_later(self._head_seconds_max, self.force_close)

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        # The one refusal that aiohttp makes before the middlewares, in words of the client's.
        if isinstance(resp, web.HTTPExpectationFailed):
            resp = _problem(HTTPStatus.EXPECTATION_FAILED)
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != HTTPStatus.BAD_REQUEST:
            # Past the middlewares, which answer every error: a mistake of ours, and logged as one.
            super().handle_error(request, status, exc, message)
        elif isinstance(exc, LineTooLong):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        response = _problem(HTTPStatus(status))
        response.force_close()
        return response

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
