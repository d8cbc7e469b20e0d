"""Conditional requests: responses with an ETag, and 304 for a client that has the current version."""

from collections.abc import Callable
from hashlib import sha256
from http import HTTPStatus

from aiohttp import ETag, hdrs, web

from .exchange import compress_larger
from .headers import PUBLIC_CACHING, RESOURCE_POLICY
from .identity import IDENTITY


def answer_with_etag(
    request: web.Request,
    body: bytes,
    *,
    content_type: str,
    etag_source: bytes | None = None,
    is_for_other_sites: bool = False,
) -> web.Response:
    """Answer with an ETag of `etag_source` (else of the body), or with 304.

    `is_for_other_sites`: pictures and feeds, which other sites may show and a browser may keep for half a minute.
    """
    if request[IDENTITY].sees_details:
        # As everywhere in the API: nothing for administrators may be cached.
        return _whole(request, body, content_type)
    name = sha256(body if etag_source is None else etag_source).hexdigest()[:24]
    response = conditional(request, name, lambda: _whole(request, body, content_type))
    if is_for_other_sites:
        response.headers["Cache-Control"] = PUBLIC_CACHING.replace("max-age=0", "max-age=30")
        response.headers[RESOURCE_POLICY] = "cross-origin"
    return response


def is_known(request: web.Request, name: str) -> bool:
    """Return whether If-None-Match names this version. Compares weakly: a new timestamp alone is no new version."""
    if hdrs.IF_NONE_MATCH not in request.headers:
        return False
    known = request.if_none_match or ()
    return any(etag.value in {name, "*"} for etag in known)


def conditional(request: web.Request, name: str, make: Callable[[], web.Response]) -> web.Response:
    """Answer with the ETag `name`; with 304 to a client that has it already."""
    response = web.Response(status=HTTPStatus.NOT_MODIFIED) if is_known(request, name) else make()
    response.etag = ETag(name, is_weak=True)
    return response


def _whole(request: web.Request, body: bytes, content_type: str) -> web.Response:
    response = web.Response(body=body, content_type=content_type, charset="utf-8")
    compress_larger(request, response)
    return response
