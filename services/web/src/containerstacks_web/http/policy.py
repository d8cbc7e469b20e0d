"""HTTP rules for every address: hosts, OPTIONS, CORS, accepted types, and time limits for bodies."""

import asyncio
import hmac
import re
from collections.abc import MutableMapping
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from containerstacks_shared.core.settings import ANY_ORIGIN
from containerstacks_web.settings import SETTINGS, WebSettings

from .client_address import Visitor, visitor_of
from .compression import ZERO_QUALITY
from .headers import RESOURCE_POLICY
from .identity import ANONYMOUS, IDENTITY
from .paths import API_PREFIX, METRICS_PATH, PAGES_OF_API, PROBES, STATUSPAGE_PREFIX
from .problem_types import ProblemType
from .problems import RequestRefused
from .request_limits import count, count_preflight

_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# HTTP's name for no coding.
_PLAIN: Final = "identity"
_FORM: Final = "application/x-www-form-urlencoded"
# Python knows others, some of which produce invalid characters.
_CHARSETS: Final = frozenset({"utf-8", "utf8"})
_JSON_RANGES: Final = frozenset({"application/json", "application/problem+json", "application/*", "*/*"})
# Bodies are small; a client that needs longer only holds the connection.
_BODY_SECONDS_MAX: Final = 10.0

_ALLOWED_HEADERS: Final = "Authorization, Content-Type, If-None-Match, X-API-Key, X-Request-ID"
_EXPOSED_HEADERS: Final = "ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
_PREFLIGHT_SECONDS: Final = "3600"


@web.middleware
async def enforce_policy(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path == METRICS_PATH:
        _assert_may_measure(request)
    if request.path in PROBES:
        return await handler(request)
    try:
        options = await _checked(request)
    except (RequestRefused, web.HTTPException):
        # Counted against the anonymous limit without authenticating.
        request[IDENTITY] = ANONYMOUS
        await count(request, ANONYMOUS)
        raise
    if options is None:
        return await handler(request)
    request[IDENTITY] = ANONYMOUS
    await (count_preflight(request) if _is_preflight(request) else count(request, ANONYMOUS))
    return options


async def _checked(request: web.Request) -> web.Response | None:
    """Return the answer to OPTIONS; None for every other request that passes."""
    _assert_host(request)
    if request.method == hdrs.METH_OPTIONS:
        return _options(request)
    if request.match_info.http_exception is None:
        if request.path.startswith(API_PREFIX) and request.path not in PAGES_OF_API:
            assert_accepts_json(request)
        await _receive(request)
    return None


def is_plain(request: web.Request, visitor: Visitor) -> bool:
    """Return whether no rule here could change the answer to a GET, so that it may skip them."""
    headers = request.headers
    accepted = headers.get(hdrs.ACCEPT)
    return (
        hdrs.ORIGIN not in headers
        and (accepted is None or "*/*" in accepted or not request.path.startswith(API_PREFIX))
        and len(given := headers.getall(hdrs.HOST, [])) == 1
        and _host_name(given[0]) is not None
        and (name := _host_name(visitor.host)) is not None
        and _goes_by(name, request.app[SETTINGS])
    )


def add_cors_headers(
    headers: MutableMapping[str, str], settings: WebSettings, *, path: str, origin: str
) -> None:
    """Let the pages of other sites read the API, if they may. Never with cookies: such a page brings its own key."""
    is_for_everybody = path.startswith(STATUSPAGE_PREFIX)
    if not path.startswith(API_PREFIX) or not (settings.cors_origins or is_for_everybody):
        return
    if is_for_everybody or ANY_ORIGIN in settings.cors_origins:
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = ANY_ORIGIN
    else:
        vary = headers.get(hdrs.VARY)
        headers[hdrs.VARY] = hdrs.ORIGIN if vary is None else f"{vary}, {hdrs.ORIGIN}"
        if not settings.allows_origin(origin):
            return
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED_HEADERS
    # The usual policy would keep the answer from a page of that site.
    headers[RESOURCE_POLICY] = "cross-origin"


def accepts_json(accept: str) -> bool:
    """Return whether any range of the header Accept covers JSON."""
    for media_range in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in media_range.split(";"))
        if kind in _JSON_RANGES and not any(ZERO_QUALITY.fullmatch(parameter) for parameter in parameters):
            return True
    return False


def assert_accepts_json(request: web.Request) -> None:
    accept = ", ".join(request.headers.getall(hdrs.ACCEPT, ()))
    if accept.strip() and not accepts_json(accept):
        raise RequestRefused(
            ProblemType.NOT_ACCEPTABLE, "The API sends JSON only, which the header Accept excludes."
        )


def allowed_methods(listed: str) -> str:
    """Add OPTIONS, which every address answers, to the header Allow."""
    methods = {method.strip() for method in listed.split(",")} - {""}
    return ", ".join(sorted(methods | {hdrs.METH_OPTIONS}))


def _assert_host(request: web.Request) -> None:
    """Refuse an invalid header Host, although nothing is built from it."""
    given = request.headers.getall(hdrs.HOST, [])
    if not given and request.version < (1, 1):
        return
    name = _host_name(visitor_of(request).host)
    if len(given) != 1 or _host_name(given[0]) is None or name is None:
        raise RequestRefused(ProblemType.INVALID_REQUEST, "The header Host has to name one host.")
    if not _goes_by(name, request.app[SETTINGS]):
        raise RequestRefused(ProblemType.WRONG_HOST, "This site does not go by that name.")


@lru_cache(maxsize=128)
def _host_name(host: str) -> str | None:
    """Return the name in a header Host in lower case; None when it is invalid."""
    found = _HOST.fullmatch(host)
    return None if found is None else found["name"].lower()


def _goes_by(name: str, settings: WebSettings) -> bool:
    return not settings.allowed_hosts or any(name == known.lower() for known in settings.allowed_hosts)


def _assert_may_measure(request: web.Request) -> None:
    """Metrics need the token; without one configured, they answer direct requests from a private network."""
    token = request.app[SETTINGS].metrics_token
    if token is not None:
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        # Invalid UTF-8 arrives as surrogates, which only this encodes.
        shown = given.strip().encode(errors="surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown, token.get_secret_value().encode()):
            raise RequestRefused(
                ProblemType.AUTHENTICATION_REQUIRED,
                "Metrics require the token in METRICS_TOKEN.",
                headers={hdrs.WWW_AUTHENTICATE: 'Bearer realm="metrics"'},
            )
        return
    address = visitor_of(request).address
    forwarded = any(name in request.headers for name in (hdrs.X_FORWARDED_FOR, hdrs.FORWARDED, "X-Real-IP"))
    if forwarded or (address is not None and not (address.is_private or address.is_loopback)):
        raise RequestRefused(ProblemType.FORBIDDEN, "Metrics are for this site's own monitoring.")


def _options(request: web.Request) -> web.Response:
    """Answer OPTIONS, also as a CORS preflight."""
    error = request.match_info.http_exception
    if isinstance(error, web.HTTPMethodNotAllowed):
        methods = allowed_methods(",".join(error.allowed_methods))
    elif error is not None:
        raise error
    else:
        methods = hdrs.METH_OPTIONS
    response = web.Response(status=HTTPStatus.NO_CONTENT, headers={hdrs.ALLOW: methods})
    origin = request.headers.get(hdrs.ORIGIN, "")
    is_api = request.path.startswith(API_PREFIX)
    if _is_preflight(request) and is_api and request.app[SETTINGS].allows_origin(origin):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = methods
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = _ALLOWED_HEADERS
        response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = _PREFLIGHT_SECONDS
    return response


def _is_preflight(request: web.Request) -> bool:
    return hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


async def _receive(request: web.Request) -> None:
    """Read the whole body, which is small, before a handler holds a connection to the database."""
    if not request.can_read_body:
        return
    is_form = not request.path.startswith(API_PREFIX)
    _assert_readable(request, is_form=is_form)
    try:
        async with asyncio.timeout(_BODY_SECONDS_MAX) as limit:
            await request.read()
        if is_form:
            await request.post()
    except TimeoutError:
        if not limit.expired():
            raise
        raise RequestRefused(ProblemType.REQUEST_TIMEOUT, "The rest of the request did not arrive.") from None
    except (ConnectionError, web.RequestPayloadError):
        raise RequestRefused(ProblemType.INVALID_REQUEST, "The rest of the request did not arrive.") from None
    except UnicodeError:
        raise RequestRefused(ProblemType.INVALID_REQUEST, "The form is not text in UTF-8.") from None


def _assert_readable(request: web.Request, *, is_form: bool) -> None:
    """Refuse a body that cannot be read, by the request's headers alone."""
    if request.headers.get(hdrs.CONTENT_ENCODING, _PLAIN).lower() != _PLAIN:
        raise RequestRefused(
            ProblemType.UNSUPPORTED_MEDIA_TYPE,
            "Compressed request bodies are not accepted.",
            headers={hdrs.ACCEPT_ENCODING: _PLAIN},
        )
    if (request.content_length or 0) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size, request.content_length or 0)
    if is_form and request.content_type != _FORM:
        raise RequestRefused(
            ProblemType.UNSUPPORTED_MEDIA_TYPE, f"This takes {_FORM}.", headers={"Accept-Post": _FORM}
        )
    if (request.charset or "utf-8").lower() not in _CHARSETS:
        raise RequestRefused(ProblemType.UNSUPPORTED_MEDIA_TYPE, "Text must be in UTF-8.")
