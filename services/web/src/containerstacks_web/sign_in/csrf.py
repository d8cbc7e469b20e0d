"""The token that proves a form was rendered for the session that sends it."""

import hmac
import secrets

from aiohttp import web
from aiohttp_session import get_session

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


async def is_csrf_token_valid(request: web.Request, sent: object) -> bool:
    session = await get_session(request)
    expected = session.get(_SESSION_KEY)
    if not isinstance(expected, str) or not isinstance(sent, str):
        return False
    return hmac.compare_digest(expected.encode(), sent.encode())
