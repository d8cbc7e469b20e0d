"""Counts requests, and refuses what is one too many: of a class of visitors, or of credentials that are nobody's.

Who comes with a credential can only be told by asking the database, also when the answer is a refusal. So each
address has a budget of questions that led to nobody, and once it is spent nothing more is asked for that address.
"""

from http import HTTPStatus
from typing import Final

from aiohttp import web

from containerstacks_shared.core.settings import RateLimit
from containerstacks_web.keys import RATE_LIMITER, TRUSTED_PROXIES, VERDICT
from containerstacks_web.metrics import RATE_LIMITED
from containerstacks_web.problems import RequestRefused
from containerstacks_web.rate_limiting import Verdict
from containerstacks_web.sign_in.identity import Identity, RequestRole

# Few for the database, more than a house full of expired sessions needs, and soon over for whoever shares the
# address and comes with a good one.
VAIN_CREDENTIALS: Final = RateLimit.parse("100/1 minute")
_VAIN_CREDENTIALS_NAME: Final = "credentials"


async def count(request: web.Request, identity: Identity) -> None:
    address = _address(request)
    key = address if identity.user_id is None else f"{identity.user_id} {address}"
    # A stranger's may have been counted on the short way, which was too short for this request.
    verdict = request.get(VERDICT) or await request.app[RATE_LIMITER].hit_as(identity.role, key)
    _go_by(request, verdict, verdict.refusal)


async def count_preflight(request: web.Request) -> None:
    """Count apart what a browser asks before it sends another site's request, which may bring a key and its limit."""
    verdict = await request.app[RATE_LIMITER].hit_as(RequestRole.ANONYMOUS, f"preflight {_address(request)}")
    _go_by(request, verdict, verdict.refusal)


async def assert_may_bring_credentials(request: web.Request) -> None:
    limiter = request.app[RATE_LIMITER]
    verdict = await limiter.look(_VAIN_CREDENTIALS_NAME, VAIN_CREDENTIALS, _address(request))
    if not verdict.allowed:
        _go_by(
            request,
            verdict,
            "Too many keys and sessions that are none, or no longer, came from this address."
            f" Try again in {verdict.reset_seconds} seconds.",
        )


async def count_vain_credential(request: web.Request) -> None:
    await request.app[RATE_LIMITER].hit(_VAIN_CREDENTIALS_NAME, VAIN_CREDENTIALS, _address(request))


def _go_by(request: web.Request, verdict: Verdict, refusal: str) -> None:
    request[VERDICT] = verdict
    if not verdict.allowed:
        RATE_LIMITED.labels(verdict.name).inc()
        raise RequestRefused(HTTPStatus.TOO_MANY_REQUESTS, refusal)


def _address(request: web.Request) -> str:
    return request.app[TRUSTED_PROXIES].visitor(request).limit_key
