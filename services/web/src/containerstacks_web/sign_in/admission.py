"""The middleware that authenticates a request and counts it."""

from aiohttp import web
from aiohttp.typedefs import Handler

from containerstacks_web.http.authorization import CHALLENGE
from containerstacks_web.http.identity import ANONYMOUS, IDENTITY
from containerstacks_web.http.paths import PROBES, SOCKET_PATH, STATIC_PREFIX
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused
from containerstacks_web.http.request_limits import count

from .credentials import WrongCredential, identify


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Authenticate and count the request; refuse it above the limit, or with a wrong credential."""
    if request.path in PROBES or request.path.startswith(STATIC_PREFIX):
        return await handler(request)
    # Until more is known.
    request[IDENTITY] = identity = ANONYMOUS
    refusal = None
    try:
        request[IDENTITY] = identity = await identify(request)
    except WrongCredential:
        refusal = RequestRefused(
            ProblemType.INVALID_CREDENTIAL,
            "The credential in the request's headers is invalid or expired.",
            headers=CHALLENGE,
        )
    # Sockets have caps of their own.
    if request.path != SOCKET_PATH or refusal is not None:
        await count(request, identity)
    if refusal is not None:
        raise refusal
    return await handler(request)
