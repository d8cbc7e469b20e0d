"""Sessions on the server: the browser holds a random token, the database a keyed hash of it.

A session without a user exists only to hold the token of a sign-in form, and is short.
"""

import hmac
import re
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from aiohttp import web
from aiohttp_session import AbstractStorage, Session
from pydantic import SecretStr

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import web_sessions
from containerstacks_shared.fleet.users import User, UserId
from containerstacks_shared.fleet.web_sessions import WebSession
from containerstacks_web.database import POOL
from containerstacks_web.http.client_address import visitor_of

from .credential_marks import CREDENTIAL_MARKS

COOKIE_NAME: Final = "containerstacks_session"
USER_ID: Final = "user_id"

SIGNED_IN_LIFETIME: Final = timedelta(days=7)
FORM_LIFETIME: Final = timedelta(hours=1)
_TOKEN_BYTES: Final = 32
# What such a token looks like; anything else is not worth a question to the database.
_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{{len(secrets.token_urlsafe(_TOKEN_BYTES))}}}")

# The signed-in user as the database knew them when the session was loaded.
SESSION_USER: Final = web.RequestKey("session_user", User)


class DatabaseSessionStorage(AbstractStorage):
    def __init__(self, secret: SecretStr | None) -> None:
        super().__init__(cookie_name=COOKIE_NAME, httponly=True, samesite="Lax")
        self._key = b"" if secret is None else secret.get_secret_value().encode()

    async def load_session(self, request: web.Request) -> Session:
        token = self.token(request)
        found = None if token is None else await self._find(request, token)
        if token is None or found is None:
            return await self.new_session()
        values = dict(found.data)
        if found.user is not None:
            request[SESSION_USER] = found.user
            values[USER_ID] = str(found.user.id)
        created = int(found.created_at.timestamp())
        return Session(token, data={"created": created, "session": values}, new=False)

    async def find_user(self, request: web.Request) -> User | None:
        """Look up who is signed in now, whatever the request has stored."""
        token = self.token(request)
        found = None if token is None else await self._find(request, token)
        return None if found is None else found.user

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        if session.empty:
            await self.forget(request, session)
            response.del_cookie(COOKIE_NAME, path="/")
            return
        data = {name: value for name, value in session.items() if name != USER_ID}
        if session.identity is None:
            await self._begin(request, response, session.get(USER_ID), data)
            return
        async with lend(request.app[POOL]) as connection:
            await web_sessions.change(connection, self._hash(str(session.identity)), data=data)

    async def _begin(
        self, request: web.Request, response: web.StreamResponse, user_id: str | None, data: dict[str, Any]
    ) -> None:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        lifetime = FORM_LIFETIME if user_id is None else SIGNED_IN_LIFETIME
        async with lend(request.app[POOL]) as connection:
            await web_sessions.delete_expired(connection)
            await web_sessions.add(
                connection,
                self._hash(token),
                user_id=None if user_id is None else UserId(UUID(user_id)),
                data=data,
                lifetime=lifetime,
            )
        request.app[CREDENTIAL_MARKS].note_session(self._hash(token), signed_in=user_id is not None)
        response.set_cookie(
            COOKIE_NAME,
            token,
            max_age=int(lifetime.total_seconds()),
            path="/",
            secure=visitor_of(request).secure,
            httponly=True,
            samesite="Lax",
        )

    async def forget(self, request: web.Request, session: Session) -> None:
        """End a session on the server, whatever the browser does with its cookie."""
        if session.identity is not None:
            async with lend(request.app[POOL]) as connection:
                await web_sessions.delete(connection, self._hash(str(session.identity)))

    def token(self, request: web.Request) -> str | None:
        """Return the session token of a request, valid or not."""
        token = self.load_cookie(request)
        return token if token is not None and _TOKEN.fullmatch(token) else None

    def token_hash(self, request: web.Request) -> str | None:
        """Return what the table would know the token by."""
        token = self.token(request)
        return None if token is None else self._hash(token)

    async def _find(self, request: web.Request, token: str) -> WebSession | None:
        async with lend(request.app[POOL]) as connection:
            return await web_sessions.find(connection, self._hash(token))

    def _hash(self, token: str) -> str:
        return hmac.new(self._key, token.encode(), sha256).hexdigest()


SESSION_STORAGE: Final = web.AppKey("session_storage", DatabaseSessionStorage)
