"""Counts requests, and refuses those above a limit: for each class of visitors, and for invalid credentials.

A credential can only be checked by asking the database, also when the answer is a refusal. So each
address has a budget of invalid credentials; once it is spent, only credentials that exist are asked for.
"""

from typing import Final

from aiohttp import web

from containerstacks_shared.core.settings import RateLimit
from containerstacks_web.metrics import RATE_LIMITED

from .client_address import visitor_of
from .identity import Identity, RequestRole
from .problem_types import ProblemType
from .problems import RequestRefused
from .rate_limiting import RATE_LIMIT_RESULT, RATE_LIMITER, RateLimitResult, in_words

# Few for the database, and more than a household with expired sessions sends. Visitors with a valid credential at the
# same address wait a minute at most.
INVALID_CREDENTIALS: Final = RateLimit.parse("100/1 minute")
_INVALID_CREDENTIALS_NAME: Final = "credentials"


async def count(request: web.Request, identity: Identity) -> None:
    address = _address(request)
    key = address if identity.user_id is None else f"{identity.user_id} {address}"
    # The response cache may have counted this request already.
    result = request.get(RATE_LIMIT_RESULT) or await request.app[RATE_LIMITER].hit_as(
        identity.role, key, path=request.path
    )
    _go_by(request, result)


async def count_preflight(request: web.Request) -> None:
    """Count CORS preflights apart: the request that follows may have a key, and so a limit of its own."""
    result = await request.app[RATE_LIMITER].hit_as(RequestRole.ANONYMOUS, f"preflight {_address(request)}")
    _go_by(request, result)


async def look_at_invalid_credentials(request: web.Request) -> RateLimitResult:
    """Tell what is left of the address's budget, and count nothing."""
    return await request.app[RATE_LIMITER].look(
        _INVALID_CREDENTIALS_NAME, INVALID_CREDENTIALS, _address(request)
    )


def refuse_invalid_credential(request: web.Request, spent: RateLimitResult) -> None:
    _go_by(
        request,
        spent,
        problem=ProblemType.TOO_MANY_INVALID_CREDENTIALS,
        refusal="Too many invalid or expired credentials from this address."
        f" Try again in {in_words(spent.reset_seconds)}.",
    )


async def count_invalid_credential(request: web.Request) -> RateLimitResult:
    return await request.app[RATE_LIMITER].hit(
        _INVALID_CREDENTIALS_NAME, INVALID_CREDENTIALS, _address(request)
    )


def _go_by(
    request: web.Request,
    result: RateLimitResult,
    *,
    problem: ProblemType = ProblemType.RATE_LIMIT_EXCEEDED,
    refusal: str | None = None,
) -> None:
    request[RATE_LIMIT_RESULT] = result
    if not result.allowed:
        RATE_LIMITED.labels(result.name).inc()
        raise RequestRefused(problem, refusal or result.refusal)


def _address(request: web.Request) -> str:
    return visitor_of(request).limit_key
