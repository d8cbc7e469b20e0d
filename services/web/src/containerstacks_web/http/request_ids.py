"""The id that finds a request in the log; every response carries it."""

import random
import re
from typing import Final

from aiohttp import web
from multidict import istr

REQUEST_ID: Final = web.RequestKey("request_id", str)
REQUEST_ID_HEADER: Final = istr("X-Request-ID")
_GIVEN: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id_of(request: web.Request) -> str:
    """Return the proxy's id if it is well-formed, else a new one."""
    given = request.headers.get(REQUEST_ID_HEADER)
    if given is not None and _GIVEN.fullmatch(given):
        return given
    # It has to be unique, and is no secret.
    return f"{random.getrandbits(128):032x}"
