"""Answers that are the same for every stranger, made once and kept until the status changes.

Most requests come from visitors without any credential who ask for what the process already knows. For them the
answer's bytes lie ready: no session, no rendering, no query; only their rate limit is counted, and a stranger's request
that is one too many is refused right here. Everything else, also whatever is unusual about such a request, goes the
long way through the other middlewares.
"""

import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from prometheus_client import Counter

from containerstacks_web.api import health
from containerstacks_web.http.client_address import TRUSTED_PROXIES, Visitor
from containerstacks_web.http.compression import takes_gzip
from containerstacks_web.http.conditional import is_known
from containerstacks_web.http.headers import (
    API_KEY_HEADER,
    PUBLIC_CACHING,
    SECURITY_HEADERS,
    VARY,
)
from containerstacks_web.http.identity import RequestRole
from containerstacks_web.http.middlewares import own_headers
from containerstacks_web.http.paths import PROBES, SOCKET_PATH, STATIC_PREFIX
from containerstacks_web.http.policy import add_cors_headers, is_plain
from containerstacks_web.http.prepared_response import PreparedResponse, make_head
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import CONTENT_TYPE, describe_problem, wants_page
from containerstacks_web.http.rate_limiting import RATE_LIMIT_RESULT, RATE_LIMITER, RateLimitResult
from containerstacks_web.http.request_ids import request_id_of
from containerstacks_web.live.board import STATUS_BOARD
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.live.history import HISTORY
from containerstacks_web.live.snapshot import StatusSnapshot
from containerstacks_web.pages import handlers as pages
from containerstacks_web.pages.history import ChartRange
from containerstacks_web.rendering.templates import THEME_COOKIE, theme_of

from .metrics import RATE_LIMITED, REQUESTS
from .settings import SETTINGS

_READING: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
# Ages on a page count from when it was rendered.
_PAGE_SECONDS: Final = 1.0
_DOCUMENT_SECONDS: Final = 0.05
_COMPRESSION_LEVEL: Final = 6
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_SERVED: Final = REQUESTS.labels(str(HTTPStatus.OK.value))
_NOT_MODIFIED: Final = REQUESTS.labels(str(HTTPStatus.NOT_MODIFIED.value))

_REFUSED: Final = REQUESTS.labels(str(HTTPStatus.TOO_MANY_REQUESTS.value))
_REFUSAL_HEADERS: Final = {
    **SECURITY_HEADERS,
    hdrs.CONTENT_TYPE: CONTENT_TYPE,
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.VARY: VARY,
}

_log = structlog.get_logger(__name__)
_plain_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Form:
    """An answer in one of its forms, as it goes over the wire."""

    status: HTTPStatus
    head: str
    served: Counter
    body: bytes = b""


@dataclass(frozen=True)
class _Ready:
    """One answer. `made_from` tells what it was made from, `etag` names what it says, apart from when it was made."""

    made_from: tuple[object, ...]
    made_at: float
    etag: str
    whole: _Form
    zipped: _Form
    unchanged: _Form


_Make = Callable[[web.Request, StatusSnapshot], Awaitable[bytes]]


@dataclass(frozen=True)
class _Address:
    make: _Make
    content_type: str
    seconds: float
    # A page: it is zipped, and also shows components, incidents and charts.
    is_page: bool


async def _statistics(_request: web.Request, snapshot: StatusSnapshot) -> bytes:
    return health.public_statistics(snapshot)


async def _billing_daemon(request: web.Request, snapshot: StatusSnapshot) -> bytes:
    return health.public_billing_daemon(request, snapshot)


_ADDRESSES: Final[Mapping[str, _Address]] = {
    "/api/health/stats": _Address(_statistics, "application/json", _DOCUMENT_SECONDS, is_page=False),
    "/api/health/billing-daemon": _Address(
        _billing_daemon, "application/json", _DOCUMENT_SECONDS, is_page=False
    ),
    "/status": _Address(pages.public_status, "text/html; charset=utf-8", _PAGE_SECONDS, is_page=True),
}


class ResponseCache:
    """What lies ready, by address, theme and range of the charts; never more than a few: each replaces the last."""

    def __init__(self) -> None:
        self._ready: dict[tuple[str, str | None, str], _Ready] = {}

    async def find(self, request: web.Request, address: _Address, snapshot: StatusSnapshot) -> _Ready:
        now = time.monotonic()
        theme, chosen = None, ""
        made_from: tuple[object, ...] = (snapshot,)
        if address.is_page:
            theme = _theme(request)
            # Whatever else a query says changes nothing, and takes no room.
            chosen = ChartRange.of(request).value
            made_from = _shown_on_a_page(request, snapshot)
        key = (request.path, theme, chosen)
        ready = self._ready.get(key)
        if ready is None or ready.made_from != made_from or now - ready.made_at > address.seconds:
            etag = _etag(request, address, theme, chosen, snapshot)
            ready = await _make(request, address, snapshot, made_from=made_from, made_at=now, etag=etag)
            self._ready[key] = ready
        return ready


RESPONSE_CACHE: Final = web.AppKey("response_cache", ResponseCache)


@web.middleware
async def answer_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Stands before all other middlewares."""
    address = _ADDRESSES.get(request.path)
    if address is None and not _is_counted(request.path):
        return await handler(request)
    app = request.app
    visitor = app[TRUSTED_PROXIES].visitor(request)
    if not _is_anybodys(request, visitor):
        return await handler(request)
    result = await app[RATE_LIMITER].hit_as(RequestRole.ANONYMOUS, visitor.limit_key, path=request.path)
    if not result.allowed and not wants_page(request):
        return _refused(request, result, secure=visitor.secure)
    snapshot = app[SNAPSHOT_FEED].snapshot
    if not result.allowed or address is None or snapshot is None or request.method not in _READING:
        # It is counted now; whoever refuses it, or answers it after all, goes by this.
        request[RATE_LIMIT_RESULT] = result
        return await handler(request)
    form = _form(request, await app[RESPONSE_CACHE].find(request, address, snapshot))
    form.served.inc()
    request_id = request_id_of(request)
    if _plain_log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "request.served_ready",
            path=request.path,
            status=form.status,
            address=visitor.limit_key,
            request_id=request_id,
        )
    lines = _lines(result, request_id, secure=visitor.secure)
    return PreparedResponse(form.status, form.head, lines, form.body)


def _refused(request: web.Request, result: RateLimitResult, *, secure: bool) -> PreparedResponse:
    """Refuse what is one too many at the least cost, also to the log: a flood is a figure there, no page of lines."""
    RATE_LIMITED.labels(result.name).inc()
    _REFUSED.inc()
    request_id = request_id_of(request)
    body = describe_problem(
        ProblemType.RATE_LIMIT_EXCEEDED, HTTPStatus.TOO_MANY_REQUESTS, result.refusal, request_id
    )
    head = make_head(HTTPStatus.TOO_MANY_REQUESTS, _REFUSAL_HEADERS, length=len(body))
    lines = _lines(result, request_id, secure=secure)
    return PreparedResponse(HTTPStatus.TOO_MANY_REQUESTS, head, lines, body)


def _lines(result: RateLimitResult, request_id: str, *, secure: bool) -> str:
    """Write down what differs from one answer to the next."""
    headers = own_headers(request_id, result, secure=secure)
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _is_counted(path: str) -> bool:
    return path not in PROBES and path != SOCKET_PATH and not path.startswith(STATIC_PREFIX)


def _is_anybodys(request: web.Request, visitor: Visitor) -> bool:
    headers = request.headers
    if hdrs.AUTHORIZATION in headers or API_KEY_HEADER in headers or not is_plain(request, visitor):
        return False
    return hdrs.COOKIE not in headers or request.cookies.keys() <= {THEME_COOKIE}


def _theme(request: web.Request) -> str | None:
    return theme_of(request) if hdrs.COOKIE in request.headers else None


def _shown_on_a_page(request: web.Request, snapshot: StatusSnapshot) -> tuple[object, ...]:
    board = request.app[STATUS_BOARD].board
    return snapshot, None if board is None else (board.read_at, board.stale), request.app[HISTORY].latest


def _form(request: web.Request, ready: _Ready) -> _Form:
    headers = request.headers
    if hdrs.IF_NONE_MATCH in headers and is_known(request, ready.etag):
        return ready.unchanged
    return ready.zipped if takes_gzip(request) else ready.whole


def _etag(
    request: web.Request, address: _Address, theme: str | None, chosen: str, snapshot: StatusSnapshot
) -> str:
    """Another reading is another version. While there is none, the page turns stale, and its ages go on."""
    parts = [health.version_of(request, snapshot)]
    if address.is_page:
        board, history = request.app[STATUS_BOARD].board, request.app[HISTORY].latest
        if board is not None:
            parts.append(f"{board.read_at.timestamp():.3f}{board.stale:d}")
        parts.append(
            chosen if history is None else f"{chosen}{history.as_of.timestamp():.3f}{history.stale:d}"
        )
        if theme is not None:
            parts.append(theme)
    return "-".join(parts)


async def _make(
    request: web.Request,
    address: _Address,
    snapshot: StatusSnapshot,
    *,
    made_from: tuple[object, ...],
    made_at: float,
    etag: str,
) -> _Ready:
    body = await address.make(request, snapshot)
    headers = _headers(request, address, etag)
    typed = headers | {hdrs.CONTENT_TYPE: address.content_type}
    whole = zipped = _whole(typed, body)
    if address.is_page:
        zipped = _whole(typed | {hdrs.CONTENT_ENCODING: "gzip"}, _zip(body))
    unchanged = make_head(HTTPStatus.NOT_MODIFIED, headers, length=None)
    return _Ready(
        made_from=made_from,
        made_at=made_at,
        etag=etag,
        whole=whole,
        zipped=zipped,
        unchanged=_Form(HTTPStatus.NOT_MODIFIED, unchanged, _NOT_MODIFIED),
    )


def _whole(headers: Mapping[str, str], body: bytes) -> _Form:
    return _Form(HTTPStatus.OK, make_head(HTTPStatus.OK, headers, length=len(body)), _SERVED, body)


def _headers(request: web.Request, address: _Address, etag: str) -> dict[str, str]:
    headers = {
        **SECURITY_HEADERS,
        hdrs.ETAG: f'W/"{etag}"',
        hdrs.CACHE_CONTROL: PUBLIC_CACHING,
        hdrs.VARY: f"{VARY}, Accept-Encoding" if address.is_page else VARY,
    }
    # Who names an origin goes the long way; a cache has to know that it would be answered otherwise.
    add_cors_headers(headers, request.app[SETTINGS], path=request.path, origin="")
    return headers


def _zip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()
