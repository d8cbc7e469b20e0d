"""The token that proves a form was rendered for the session that sends it."""

import hmac
import secrets

from aiohttp import web
from aiohttp_session import get_session

from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused

FIELD_NAME = "csrf_token"
_SESSION_KEY = "csrf_token"


async def csrf_token(request: web.Request) -> str:
    """Return the token for a form's hidden field `csrf_token`; starts a session when there is none."""
    session = await get_session(request)
    token = session.get(_SESSION_KEY)
    if not isinstance(token, str):
        token = secrets.token_urlsafe(32)
        session[_SESSION_KEY] = token
    return token


async def assert_csrf(request: web.Request) -> None:
    """Make sure that the session that sends a form is the one that it was rendered for."""
    sent = (await request.post()).get(FIELD_NAME)
    expected = (await get_session(request)).get(_SESSION_KEY)
    if not (
        isinstance(expected, str)
        and isinstance(sent, str)
        and hmac.compare_digest(expected.encode(), sent.encode())
    ):
        raise RequestRefused(
            ProblemType.EXPIRED_FORM,
            "This form has expired or came from another site. Go back, reload, try again.",
        )
