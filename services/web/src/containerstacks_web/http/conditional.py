"""Answers that anybody may keep and ask for again: with a name for what they say, or only that it is unchanged."""

from hashlib import sha256
from http import HTTPStatus

from aiohttp import ETag, web

from .exchange import compress_larger
from .headers import PUBLIC_CACHING, RESOURCE_POLICY
from .identity import IDENTITY


def named_answer(
    request: web.Request,
    body: bytes,
    *,
    content_type: str,
    says: bytes | None = None,
    is_for_all: bool = False,
) -> web.Response:
    """Answer with an ETag of `says` (else of the body), or that nothing else is said than the browser knows.

    `is_for_all`: pictures and feeds, which other sites show; a browser may keep them for half a minute, too.
    """
    if request[IDENTITY].is_admin:
        # As everywhere in the API: what administrators get is nobody's to keep.
        return _whole(request, body, content_type)
    etag = ETag(sha256(body if says is None else says).hexdigest()[:24], is_weak=True)
    if any(known.value in {etag.value, "*"} for known in request.if_none_match or ()):
        response = web.Response(status=HTTPStatus.NOT_MODIFIED)
    else:
        response = _whole(request, body, content_type)
    response.etag = etag
    if is_for_all:
        response.headers["Cache-Control"] = PUBLIC_CACHING.replace("max-age=0", "max-age=30")
        response.headers[RESOURCE_POLICY] = "cross-origin"
    return response


def _whole(request: web.Request, body: bytes, content_type: str) -> web.Response:
    response = web.Response(body=body, content_type=content_type, charset="utf-8")
    compress_larger(request, response)
    return response
