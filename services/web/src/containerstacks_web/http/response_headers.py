"""The headers that every response carries, set in one place: when it is sent."""

from collections.abc import MutableMapping

from aiohttp import hdrs, web

from containerstacks_web.settings import SETTINGS

from .client_address import visitor_of
from .headers import (
    CONTENT_POLICY,
    FRAMED_POLICY,
    OPENER_POLICY,
    PUBLIC_CACHING,
    RESOURCE_POLICY,
    SECURITY_HEADERS,
    TRANSPORT_SECURITY,
    VARY,
)
from .identity import IDENTITY, RequestRole
from .paths import API_PREFIX, EMBED_PATH, STATUSPAGE_PREFIX
from .policy import add_cors_headers
from .rate_limiting import RATE_LIMIT_RESULT
from .request_ids import REQUEST_ID, REQUEST_ID_HEADER


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`."""
    set_common_headers(request, response.headers)
    response.headers.update(own_headers(request))


def set_common_headers(request: web.Request, headers: MutableMapping[str, str]) -> None:
    """Set the headers that are the same for every response to a request like this one."""
    # Only this one may be set by a handler.
    resource_policy = headers.get(RESOURCE_POLICY, SECURITY_HEADERS[RESOURCE_POLICY])
    headers.update(SECURITY_HEADERS)
    headers[RESOURCE_POLICY] = resource_policy
    if request.path == EMBED_PATH:
        headers[CONTENT_POLICY] = FRAMED_POLICY
        del headers["X-Frame-Options"]
    if IDENTITY in request:
        is_compressible = hdrs.ACCEPT_ENCODING in headers.get(hdrs.VARY, "")
        headers[hdrs.VARY] = f"{VARY}, {hdrs.ACCEPT_ENCODING}" if is_compressible else VARY
        if request[IDENTITY].role is not RequestRole.ANONYMOUS:
            headers[hdrs.CACHE_CONTROL] = "private, no-store"
        else:
            headers.setdefault(hdrs.CACHE_CONTROL, PUBLIC_CACHING if hdrs.ETAG in headers else "no-cache")
        if headers[hdrs.CACHE_CONTROL] == PUBLIC_CACHING:
            # It holds nothing private, and with this header Chromium starts another process: a fifth of first paint.
            del headers[OPENER_POLICY]
    add_cors_headers(
        headers,
        request.app[SETTINGS],
        path=request.path,
        origin=request.headers.get(hdrs.ORIGIN, ""),
    )


def kind_of_address(path: str) -> tuple[bool, ...]:
    """Return what the common headers depend on in a path: paths of one kind get the same headers."""
    return path == EMBED_PATH, path.startswith(API_PREFIX), path.startswith(STATUSPAGE_PREFIX)


def own_headers(request: web.Request) -> dict[str, str]:
    """Return the headers that differ from response to response."""
    headers = request[RATE_LIMIT_RESULT].headers if RATE_LIMIT_RESULT in request else {}
    if visitor_of(request).secure:
        headers["Strict-Transport-Security"] = TRANSPORT_SECURITY
    if REQUEST_ID in request:
        headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    return headers
