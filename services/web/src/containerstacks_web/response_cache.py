"""Answers that are the same for every visitor without a credential, kept until the status changes.

Most requests come from such visitors and ask for what the process already knows: no session, no rendering, no query;
only their rate limit is counted, and a request above the limit is refused right here. Every other request, and any
with something unusual about it, goes through the other middlewares.
"""

import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import ETag, hdrs, web
from aiohttp.typedefs import Handler

from containerstacks_web.api import health
from containerstacks_web.http.client_address import Visitor, visitor_of
from containerstacks_web.http.compression import takes_gzip
from containerstacks_web.http.conditional import is_known
from containerstacks_web.http.headers import API_KEY_HEADER
from containerstacks_web.http.identity import ANONYMOUS, IDENTITY, RequestRole
from containerstacks_web.http.paths import PROBES, SOCKET_PATH, STATIC_PREFIX
from containerstacks_web.http.policy import is_plain
from containerstacks_web.http.prepared_response import ANY_REQUEST_ID, KeptResponse, PreparedResponse, keep
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused, problem_response, wants_page
from containerstacks_web.http.rate_limiting import RATE_LIMIT_RESULT, RATE_LIMITER, RateLimitResult
from containerstacks_web.http.request_ids import REQUEST_ID, request_id_of
from containerstacks_web.http.response_headers import kind_of_address
from containerstacks_web.live.board import STATUS_BOARD
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.live.freshness import Freshness
from containerstacks_web.live.history import HISTORY
from containerstacks_web.live.snapshot import StatusSnapshot
from containerstacks_web.pages import handlers as pages
from containerstacks_web.pages.history import ChartRange
from containerstacks_web.rendering.templates import THEME_COOKIE, theme_of

from .metrics import RATE_LIMITED, requests_with

_READING: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
# Ages on a page count from when it was rendered.
_PAGE_SECONDS: Final = 1.0
_DOCUMENT_SECONDS: Final = 0.05
_COMPRESSION_LEVEL: Final = 6
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS

_log = structlog.get_logger(__name__)
_plain_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answer:
    """`made_from` is what the body was made from; `etag` names what it says, apart from when it was made."""

    made_from: tuple[object, ...]
    made_at: float
    etag: str
    whole: KeptResponse
    zipped: KeptResponse
    unchanged: KeptResponse


_Make = Callable[[web.Request, StatusSnapshot], Awaitable[bytes]]


@dataclass(frozen=True)
class _Address:
    make: _Make
    content_type: str
    seconds: float
    # A page is compressed, and also shows components, incidents and charts.
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
    """Answers by address, theme and range of the charts. Each replaces the one before, so they are few.

    Refusals by limit and kind of address: visitors who are refused in the same second, or minute, get the same.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str | None, str], _Answer] = {}
        self._refusals: dict[tuple[str, tuple[bool, ...]], tuple[str, KeptResponse]] = {}

    async def refuse(self, request: web.Request, result: RateLimitResult) -> KeptResponse:
        kind, detail = (result.name, kind_of_address(request.path)), result.refusal
        known = self._refusals.get(kind)
        if known is not None and known[0] == detail:
            return known[1]
        refused = RequestRefused(ProblemType.RATE_LIMIT_EXCEEDED, detail)
        response = await problem_response(request, refused, reference=ANY_REQUEST_ID.decode())
        refusal = keep(request, response)
        self._refusals[kind] = detail, refusal
        return refusal

    async def find(self, request: web.Request, address: _Address, snapshot: StatusSnapshot) -> _Answer:
        now = time.monotonic()
        theme, chosen = None, ""
        made_from: tuple[object, ...] = (snapshot,)
        if address.is_page:
            theme = _theme(request)
            # Nothing else in a query changes the page.
            chosen = ChartRange.of(request).value
            made_from = _shown_on_a_page(request.app, snapshot)
        key = (request.path, theme, chosen)
        answer = self._answers.get(key)
        if answer is None or answer.made_from != made_from or now - answer.made_at > address.seconds:
            etag = _etag(request, address, theme, chosen, snapshot)
            body = await address.make(request, snapshot)
            answer = _answer(request, address, body, made_from=made_from, made_at=now, etag=etag)
            self._answers[key] = answer
        return answer


RESPONSE_CACHE: Final = web.AppKey("response_cache", ResponseCache)


@web.middleware
async def answer_anonymous(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Stands before all other middlewares."""
    address = _ADDRESSES.get(request.path)
    if address is None and not _is_counted(request.path):
        return await handler(request)
    app = request.app
    visitor = visitor_of(request)
    if not _is_anonymous(request, visitor):
        return await handler(request)
    result = await app[RATE_LIMITER].hit_as(RequestRole.ANONYMOUS, visitor.limit_key, path=request.path)
    # The request is counted here; later handlers use this result.
    request[RATE_LIMIT_RESULT] = result
    snapshot = app[SNAPSHOT_FEED].snapshot
    response: web.StreamResponse
    if not result.allowed and not wants_page(request):
        _identify(request)
        # At the least cost, also to the log: a flood is a figure there, not a page of lines.
        RATE_LIMITED.labels(result.name).inc()
        response = PreparedResponse(await app[RESPONSE_CACHE].refuse(request, result))
    elif not result.allowed or address is None or snapshot is None or request.method not in _READING:
        return await handler(request)
    else:
        _identify(request)
        answer = await app[RESPONSE_CACHE].find(request, address, snapshot)
        response = PreparedResponse(_variant(request, answer))
        if _plain_log.isEnabledFor(logging.DEBUG):
            _log.debug(
                "request.served_ready",
                path=request.path,
                status=response.status,
                address=visitor.limit_key,
                request_id=request[REQUEST_ID],
            )
    requests_with(str(response.status)).inc()
    return response


def _identify(request: web.Request) -> None:
    """Set what the response's headers are made from."""
    request[REQUEST_ID] = request_id_of(request)
    request[IDENTITY] = ANONYMOUS


def _variant(request: web.Request, answer: _Answer) -> KeptResponse:
    if is_known(request, answer.etag):
        return answer.unchanged
    return answer.zipped if takes_gzip(request) else answer.whole


def _answer(
    request: web.Request,
    address: _Address,
    body: bytes,
    *,
    made_from: tuple[object, ...],
    made_at: float,
    etag: str,
) -> _Answer:
    def kept(
        status: HTTPStatus, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> KeptResponse:
        response = web.Response(status=status, body=body, headers=headers)
        response.etag = ETag(etag, is_weak=True)
        if address.is_page:
            response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        return keep(request, response)

    typed: dict[str, str] = {hdrs.CONTENT_TYPE: address.content_type}
    whole = zipped = kept(HTTPStatus.OK, body, typed)
    if address.is_page:
        zipped = kept(HTTPStatus.OK, _zip(body), typed | {hdrs.CONTENT_ENCODING: "gzip"})
    unchanged = kept(HTTPStatus.NOT_MODIFIED)
    return _Answer(made_from, made_at, etag, whole, zipped, unchanged)


def _is_counted(path: str) -> bool:
    return path not in PROBES and path != SOCKET_PATH and not path.startswith(STATIC_PREFIX)


def _is_anonymous(request: web.Request, visitor: Visitor) -> bool:
    headers = request.headers
    if hdrs.AUTHORIZATION in headers or API_KEY_HEADER in headers or not is_plain(request, visitor):
        return False
    return hdrs.COOKIE not in headers or request.cookies.keys() <= {THEME_COOKIE}


def _theme(request: web.Request) -> str | None:
    return theme_of(request) if hdrs.COOKIE in request.headers else None


def _shown_on_a_page(app: web.Application, snapshot: StatusSnapshot) -> tuple[object, ...]:
    board = app[STATUS_BOARD].board
    # A page that was kept would be called fresh for a second too long.
    freshness = Freshness.of(app[SNAPSHOT_FEED].age_seconds())
    shown = None if board is None else (board.read_at, board.stale)
    return snapshot, freshness, shown, app[HISTORY].latest


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


def _zip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()
