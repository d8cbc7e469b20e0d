"""Compresses responses for clients that accept gzip."""

import re
from functools import lru_cache
from typing import Final

from aiohttp import hdrs, web
from aiohttp.web import ContentCoding

ZERO_QUALITY: Final = re.compile(r"q\s*=\s*0(\.0*)?")


# Browsers send one of a few values.
@lru_cache(maxsize=128)
def accepts_gzip(accepted: str) -> bool:
    """Return whether the header Accept-Encoding accepts gzip, which `gzip;q=0` does not."""
    for coding in accepted.split(","):
        name, *parameters = (part.strip().lower() for part in coding.split(";"))
        if name == "gzip":
            return not any(ZERO_QUALITY.fullmatch(parameter) for parameter in parameters)
    return False


def takes_gzip(request: web.Request) -> bool:
    return accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))


def compress(request: web.Request, response: web.Response) -> None:
    """Compress the body if the client accepts gzip; Vary is set either way."""
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    # aiohttp alone would only look for the word in the header, and miss `q=0`.
    if takes_gzip(request):
        response.enable_compression(ContentCoding.gzip)
