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
from uuid import uuid4

import structlog
from aiohttp import ETag, hdrs, web
from aiohttp.typedefs import Handler

from .api import health
from .conventions import PROBES, SOCKET_PATH, STATIC_PREFIX, add_cors_headers, is_plain
from .headers import SECURITY_HEADERS, TRANSPORT_SECURITY, VARY
from .keys import HISTORY, RATE_LIMITER, SNAPSHOT_FEED, STATUS_BOARD, TRUSTED_PROXIES, VERDICT
from .live.snapshot import StatusSnapshot
from .metrics import RATE_LIMITED, REQUESTS
from .pages import handlers as pages
from .pages.history import ChartRange
from .pages.rendering import THEME_COOKIE, theme_of
from .pages.verdict import Freshness
from .problems import CONTENT_TYPE, describe_problem, wants_page
from .rate_limiting import Verdict
from .sign_in.identity import RequestRole

# With any of these a request is not just anybody's.
_PERSONAL: Final = (hdrs.AUTHORIZATION, "X-API-Key", "X-Request-ID")
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


class ReadyResponse(web.Response):
    """Carries all its headers already."""


@dataclass(frozen=True)
class _Ready:
    """One answer. `etag` names what it says, apart from the moment at which it was made."""

    made_at: float
    etag: str
    headers: Mapping[str, str]
    body: bytes
    zipped: bytes | None


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


async def _billing_daemon(_request: web.Request, snapshot: StatusSnapshot) -> bytes:
    return health.public_billing_daemon(snapshot)


_ADDRESSES: Final[Mapping[str, _Address]] = {
    "/api/health/stats": _Address(_statistics, "application/json", _DOCUMENT_SECONDS, is_page=False),
    "/api/health/billing-daemon": _Address(
        _billing_daemon, "application/json", _DOCUMENT_SECONDS, is_page=False
    ),
    "/status": _Address(pages.public_status, "text/html; charset=utf-8", _PAGE_SECONDS, is_page=True),
}


class ReadyAnswers:
    """What lies ready, by address, theme and range of the charts; never more than a few: each replaces the last."""

    def __init__(self) -> None:
        self._ready: dict[tuple[str, str | None, str], _Ready] = {}

    async def find(
        self, request: web.Request, address: _Address, theme: str | None, snapshot: StatusSnapshot
    ) -> _Ready:
        now = time.monotonic()
        # Whatever else a query says changes nothing, and takes no room.
        chosen = ChartRange.of(request).value if address.is_page else ""
        key = (request.path, theme, chosen)
        etag = _etag(request, address, theme, chosen, snapshot)
        ready = self._ready.get(key)
        if ready is None or ready.etag != etag or now - ready.made_at > address.seconds:
            body = await address.make(request, snapshot)
            zipped = _zip(body) if address.is_page else None
            headers = _headers(address, etag)
            ready = _Ready(made_at=now, etag=etag, headers=headers, body=body, zipped=zipped)
            self._ready[key] = ready
        return ready


READY_ANSWERS: Final = web.AppKey("ready_answers", ReadyAnswers)


@web.middleware
async def answer_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Stands before all other middlewares."""
    if not _is_counted(request.path) or not _is_anybodys(request):
        return await handler(request)
    visitor = request.app[TRUSTED_PROXIES].visitor(request)
    verdict = await request.app[RATE_LIMITER].hit_as(RequestRole.ANONYMOUS, visitor.limit_key)
    # It is counted now; whoever refuses it, or answers it after all, goes by this.
    request[VERDICT] = verdict
    if not verdict.allowed and not wants_page(request):
        return _refused(request, verdict, secure=visitor.secure)
    address = _ADDRESSES.get(request.path)
    snapshot = request.app[SNAPSHOT_FEED].snapshot
    if not verdict.allowed or address is None or snapshot is None or request.method != hdrs.METH_GET:
        return await handler(request)
    ready = await request.app[READY_ANSWERS].find(request, address, _theme(request), snapshot)
    known = hdrs.IF_NONE_MATCH in request.headers and _is_known(request, ready.etag)
    response = _unchanged(ready) if known else _whole(request, ready)
    _finish(request, response, str(uuid4()), verdict, secure=visitor.secure)
    (_NOT_MODIFIED if known else _SERVED).inc()
    if _plain_log.isEnabledFor(logging.DEBUG):
        _log.debug(
            "request.served_ready", path=request.path, status=response.status, address=visitor.limit_key
        )
    return response


def _refused(request: web.Request, verdict: Verdict, *, secure: bool) -> ReadyResponse:
    """Refuse what is one too many at the least cost, also to the log: a flood is a figure there, no page of lines."""
    RATE_LIMITED.labels(verdict.name).inc()
    _REFUSED.inc()
    request_id = str(uuid4())
    response = ReadyResponse(
        status=HTTPStatus.TOO_MANY_REQUESTS,
        body=describe_problem(HTTPStatus.TOO_MANY_REQUESTS, verdict.refusal, request_id),
        headers=_REFUSAL_HEADERS,
    )
    _finish(request, response, request_id, verdict, secure=secure)
    return response


def _finish(
    request: web.Request, response: web.Response, request_id: str, verdict: Verdict, *, secure: bool
) -> None:
    response.headers.update(verdict.headers)
    response.headers["X-Request-ID"] = request_id
    if secure:
        response.headers["Strict-Transport-Security"] = TRANSPORT_SECURITY
    add_cors_headers(request, response)


def _is_counted(path: str) -> bool:
    return path not in PROBES and path != SOCKET_PATH and not path.startswith(STATIC_PREFIX)


def _is_anybodys(request: web.Request) -> bool:
    headers = request.headers
    if any(name in headers for name in _PERSONAL):
        return False
    if not is_plain(request):
        return False
    return hdrs.COOKIE not in headers or request.cookies.keys() <= {THEME_COOKIE}


def _theme(request: web.Request) -> str | None:
    return theme_of(request) if hdrs.COOKIE in request.headers else None


def _etag(
    request: web.Request, address: _Address, theme: str | None, chosen: str, snapshot: StatusSnapshot
) -> str:
    """Another reading is another version. While there is none, the page turns stale, and its ages go on."""
    freshness = Freshness.of(request.app[SNAPSHOT_FEED].age_seconds())
    board = request.app[STATUS_BOARD].board if address.is_page else None
    shown = "" if board is None else f"-{board.read_at.timestamp():.3f}{board.stale:d}"
    if address.is_page:
        history = request.app[HISTORY].latest
        read = "" if history is None else f"{history.as_of.timestamp():.3f}{history.stale:d}"
        shown += f"-{chosen}{read}"
    if freshness is Freshness.FRESH and theme is None:
        return f"{snapshot.version}{shown}"
    minute = int(time.time() // 60) if freshness is not Freshness.FRESH else ""
    return f"{snapshot.version}{shown}-{freshness}-{minute}-{theme or ''}"


def _headers(address: _Address, etag: str) -> dict[str, str]:
    return {
        **SECURITY_HEADERS,
        hdrs.CONTENT_TYPE: address.content_type,
        hdrs.ETAG: f'W/"{etag}"',
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.VARY: f"{VARY}, Accept-Encoding" if address.is_page else VARY,
    }


def _whole(request: web.Request, ready: _Ready) -> ReadyResponse:
    if ready.zipped is None or "gzip" not in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
        return ReadyResponse(body=ready.body, headers=ready.headers)
    response = ReadyResponse(body=ready.zipped, headers=ready.headers)
    response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    return response


def _unchanged(ready: _Ready) -> ReadyResponse:
    response = ReadyResponse(status=HTTPStatus.NOT_MODIFIED, headers=ready.headers)
    del response.headers[hdrs.CONTENT_TYPE]
    return response


def _is_known(request: web.Request, etag: str) -> bool:
    known: tuple[ETag, ...] = request.if_none_match or ()
    return any(candidate.value in {etag, "*"} for candidate in known)


def _zip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()
