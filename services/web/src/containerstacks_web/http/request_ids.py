"""The name under which a request is found in the log, told in every answer."""

import re
from secrets import token_hex
from typing import Final

from aiohttp import web
from multidict import istr

REQUEST_ID: Final = web.RequestKey("request_id", str)
REQUEST_ID_HEADER: Final = istr("X-Request-ID")
_GIVEN: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id_of(request: web.Request) -> str:
    """Return the one that a proxy gave, if it looks like one, else a new one."""
    given = request.headers.get(REQUEST_ID_HEADER)
    return given if given is not None and _GIVEN.fullmatch(given) else token_hex(16)
