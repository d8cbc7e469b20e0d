"""Authenticates a request: API key, the original application's token, or session.

A credential in a header is meant: when it is wrong, the request is refused, however public its target. A
cookie just comes along: when it has expired, its bearer is a visitor like any other.
"""

import binascii
import warnings
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import jwt
import structlog
from aiohttp import hdrs, web
from aiohttp_session import get_session

from containerstacks_shared.core.errors import describe
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import api_keys, users
from containerstacks_shared.fleet.api_keys import ApiKeyScope
from containerstacks_shared.fleet.permissions import ALLOWED, Permission
from containerstacks_shared.fleet.users import User, UserId
from containerstacks_web.database import POOL
from containerstacks_web.http.headers import API_KEY_HEADER
from containerstacks_web.http.identity import ANONYMOUS, CredentialKind, Identity, RequestRole
from containerstacks_web.http.rate_limiting import RATE_LIMIT_RESULT
from containerstacks_web.http.request_limits import (
    count,
    count_invalid_credential,
    look_at_invalid_credentials,
    refuse_invalid_credential,
)
from containerstacks_web.settings import SETTINGS

from .credential_marks import CREDENTIAL_MARKS
from .key_uses import KEY_USES
from .sessions import SESSION_STORAGE, SESSION_USER

_CREDENTIAL_CHARACTERS_MAX: Final = 4096

_log = structlog.get_logger(__name__)


class WrongCredential(Exception):  # noqa: N818 - what is the case
    """A header holds an invalid or expired credential."""


async def identify(request: web.Request) -> Identity:
    """Raises `WrongCredential`; `RequestRefused` after too many; one of `db.UNAVAILABLE`."""
    if not _has_credential(request):
        return ANONYMOUS
    left = await look_at_invalid_credentials(request)
    if not left.allowed and not await _is_known(request):
        refuse_invalid_credential(request, left)
    try:
        identity = await _by_headers(request)
    except WrongCredential:
        # Under this limit alone: invalid keys use up nothing that visitors from the same address need.
        request[RATE_LIMIT_RESULT] = await count_invalid_credential(request)
        raise
    return await _by_session(request) if identity is None else identity


async def still_sees_details(request: web.Request) -> bool:
    """Look the user up again, whatever the request has stored. Raises one of `db.UNAVAILABLE`."""
    try:
        identity = await _by_headers(request)
    except WrongCredential:
        return False
    if identity is not None:
        return identity.sees_details
    user = await request.app[SESSION_STORAGE].find_user(request)
    return user is not None and Permission.READ in ALLOWED[user.role]


async def _is_known(request: web.Request) -> bool:
    """Tell, without asking the database for it, whether the request's credential exists."""
    marks = request.app[CREDENTIAL_MARKS]
    presented = _presented(request)
    for is_key, credential in presented:
        if not (await marks.knows_key(credential) if is_key else _is_signed(request, credential)):
            return False
    token_hash = request.app[SESSION_STORAGE].token_hash(request)
    if presented or token_hash is None or await marks.knows_signed_in(token_hash):
        return True
    if not await marks.knows_form(token_hash):
        return False
    # A visitor who is about to sign in. Every visitor gets such a session, so the anonymous limit is checked before
    # the database is asked.
    await count(request, ANONYMOUS)
    return True


def _is_signed(request: web.Request, token: str) -> bool:
    try:
        _user_id_of_token(request, token)
    except WrongCredential:
        return False
    return True


def _has_credential(request: web.Request) -> bool:
    if API_KEY_HEADER in request.headers or hdrs.AUTHORIZATION in request.headers:
        return True
    return request.app[SESSION_STORAGE].token(request) is not None


async def _by_headers(request: web.Request) -> Identity | None:
    identities = [
        await (_by_api_key if is_key else _by_token)(request, credential)
        for is_key, credential in _presented(request)
    ]
    return identities[0] if identities else None


def _presented(request: web.Request) -> list[tuple[bool, str]]:
    """Return the credentials in the request's headers, each with whether it is to be an API key."""
    presented = []
    if (key := request.headers.get(API_KEY_HEADER)) is not None:
        presented.append((True, key.strip()))
    if (authorization := request.headers.get(hdrs.AUTHORIZATION)) is not None:
        # The original application reads the second word, whatever the first one is.
        credential = authorization.strip().partition(" ")[2].strip()
        presented.append((credential.startswith(api_keys.PREFIX), credential))
    return presented


async def _by_api_key(request: web.Request, key: str) -> Identity:
    # Bytes that are no text come as characters that cannot be encoded; no key has any.
    if not key.startswith(api_keys.PREFIX) or not key.isascii() or len(key) > _CREDENTIAL_CHARACTERS_MAX:
        raise WrongCredential
    async with lend(request.app[POOL]) as connection:
        found = await api_keys.find(connection, key)
    if found is None:
        raise WrongCredential
    request.app[KEY_USES].note(found.id)
    identity = _identity(found.user, CredentialKind.API_KEY)
    # A key may do what its scopes allow, and never more than its user.
    is_full = ApiKeyScope.ADMIN in found.scopes
    role = identity.role if is_full else RequestRole.USER
    return replace(identity, role=role, credential_expires_at=found.expires_at, reads_own=is_full)


async def _by_token(request: web.Request, token: str) -> Identity:
    user_id = _user_id_of_token(request, token)
    async with lend(request.app[POOL]) as connection:
        # The token names the user; their present rights are in the table.
        user = await users.find_by_id(connection, user_id)
    return _identity(user, CredentialKind.TOKEN)


def _user_id_of_token(request: web.Request, token: str) -> UserId:
    secret = request.app[SETTINGS].jwt_secret
    if secret is None or len(token) > _CREDENTIAL_CHARACTERS_MAX:
        raise WrongCredential
    try:
        with warnings.catch_warnings():
            # The original application chose the length of its secret.
            warnings.simplefilter("ignore", jwt.warnings.InsecureKeyLengthWarning)
            claims: dict[str, Any] = jwt.decode(
                token,
                secret.get_secret_value(),
                algorithms=["HS256"],
                # The clock of the machine that issued it may be ahead of ours. Every token of theirs expires.
                options={"verify_iat": False, "require": ["exp"]},
            )
        return UserId(UUID(str(claims["userId"])))
    except (jwt.InvalidTokenError, binascii.Error, KeyError, ValueError) as error:
        raise WrongCredential from error


async def _by_session(request: web.Request) -> Identity:
    try:
        await get_session(request)
    except db.UNAVAILABLE as error:
        # Pages keep working, for a visitor who counts as anonymous meanwhile.
        _log.warning("sessions.unavailable", error=describe(error))
        return ANONYMOUS
    user = request.get(SESSION_USER)
    if user is None:
        # A form's session counts as invalid, too: every visitor gets one, and it names no user.
        await count_invalid_credential(request)
        return ANONYMOUS
    return _identity(user, CredentialKind.SESSION)


def _identity(user: User | None, credential: CredentialKind) -> Identity:
    if user is None:
        raise WrongCredential
    return Identity(role=RequestRole(user.role), user_id=user.id, name=user.name, credential=credential)
