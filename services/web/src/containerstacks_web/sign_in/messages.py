"""Messages about what an action did, shown once on the next page."""

from typing import Final

from aiohttp import web
from aiohttp_session import get_session

from containerstacks_web.http.identity import IDENTITY, CredentialKind

_KEY: Final = "message"


async def leave_message(request: web.Request, text: str) -> None:
    """Keep a message for the next page; without a session there is no next page."""
    if request[IDENTITY].credential is CredentialKind.SESSION:
        (await get_session(request))[_KEY] = text


async def take_message(request: web.Request) -> str | None:
    session = await get_session(request)
    message = session.pop(_KEY, None) if _KEY in session else None
    return message if isinstance(message, str) else None
