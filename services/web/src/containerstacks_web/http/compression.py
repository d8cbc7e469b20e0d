"""Who gets an answer zipped: whoever asks for gzip and does not rule it out."""

import re
from functools import lru_cache
from typing import Final

from aiohttp import hdrs, web
from aiohttp.web import ContentCoding

ZERO_QUALITY: Final = re.compile(r"q\s*=\s*0(\.0*)?")


# Browsers say one of a few things.
@lru_cache(maxsize=128)
def accepts_gzip(accepted: str) -> bool:
    """Tell whether the header Accept-Encoding asks for gzip and does not rule it out."""
    for coding in accepted.split(","):
        name, *parameters = (part.strip().lower() for part in coding.split(";"))
        if name == "gzip":
            return not any(ZERO_QUALITY.fullmatch(parameter) for parameter in parameters)
    return False


def takes_gzip(request: web.Request) -> bool:
    return accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))


def compress(request: web.Request, response: web.Response) -> None:
    """Zip the body if the visitor takes that; caches are told that it depends on the visitor either way."""
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    # aiohttp alone would look for the word in the header, and miss that it is refused.
    if takes_gzip(request):
        response.enable_compression(ContentCoding.gzip)
