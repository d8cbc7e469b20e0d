"""Signing in with e-mail address and password, and signing out."""

import asyncio
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from uuid import UUID

import structlog
from aiohttp import web
from aiohttp_session import get_session, new_session

from containerstacks_shared.core.settings import RateLimit
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import passwords, users, web_sessions
from containerstacks_shared.fleet.users import Account, UserId
from containerstacks_web.database import POOL
from containerstacks_web.http.client_address import visitor_of
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused
from containerstacks_web.http.rate_limiting import RATE_LIMITER, in_words
from containerstacks_web.sign_in.csrf import assert_csrf, csrf_token
from containerstacks_web.sign_in.local_path import AFTER_SIGN_IN, local_path
from containerstacks_web.sign_in.sessions import SESSION_STORAGE, USER_ID

from . import handlers as pages

# Guesses at one account from one address. Not per account alone: that would let anybody lock anybody out.
GUESSES: Final = RateLimit.parse("10/15 minutes")
GUESSES_NAME: Final = "sign-in"
_EMAIL_CHARACTERS_MAX: Final = 255
# Each takes a core for some tenths of a second, and 64 MiB.
PASSWORD_CHECKS_AT_ONCE: Final = 2
PASSWORD_CHECKS: Final = web.AppKey("password_checks", asyncio.Semaphore)

_log = structlog.get_logger(__name__)


async def sign_in(request: web.Request) -> web.StreamResponse:
    form = await request.post()
    await assert_csrf(request)
    email, password, target = (_text(form.get(name)) for name in ("email", "password", "next"))
    email = email.strip()
    # Nobody's address has a NUL, which PostgreSQL does not take.
    if not email or not password or len(email) > _EMAIL_CHARACTERS_MAX or not email.isprintable():
        return await _refuse(request, email, target, "Enter your e-mail address and your password.")
    await count_guess(request, email)
    account = await _authenticate(request, email, password)
    if account is None:
        _log.info("sign_in.refused")
        return await _refuse(request, email, target, "E-mail address or password is wrong.")
    await request.app[RATE_LIMITER].clear(GUESSES_NAME, GUESSES, _guess_key(request, email))
    await begin_session(request, account.id, password_hash=account.password_hash)
    _log.info("sign_in.accepted", user_id=str(account.id), role=account.role.value)
    raise web.HTTPSeeOther(local_path(target))


async def sign_out(request: web.Request) -> web.StreamResponse:
    await assert_csrf(request)
    session = await get_session(request)
    session.invalidate()
    raise web.HTTPSeeOther(AFTER_SIGN_IN)


async def sign_out_everywhere(request: web.Request) -> web.StreamResponse:
    """End every session of the user, this one included."""
    await assert_csrf(request)
    session = await get_session(request)
    if (user_id := session.get(USER_ID)) is not None:
        async with lend(request.app[POOL]) as connection:
            ended = await web_sessions.delete_of_user(connection, UserId(UUID(user_id)))
        _log.info("sign_in.signed_out_everywhere", user_id=user_id, sessions=ended)
    session.invalidate()
    raise web.HTTPSeeOther("/login?signed-out=everywhere")


async def _authenticate(request: web.Request, email: str, password: str) -> Account | None:
    pool = request.app[POOL]
    async with lend(pool) as connection:
        account = await users.find_by_email(connection, email)
    stored_hash = None if account is None else account.password_hash
    async with request.app[PASSWORD_CHECKS]:
        verification = await asyncio.to_thread(passwords.verify_password, password, stored_hash)
    if account is None or not verification.matches:
        return None
    if (stronger := verification.stronger_hash) is not None:
        async with lend(pool) as connection:
            if await users.replace_password_hash(
                connection, account.id, before=account.password_hash, after=stronger
            ):
                return replace(account, password_hash=stronger)
    return account


async def begin_session(request: web.Request, user_id: UserId, *, password_hash: str) -> None:
    """A new session: a token that was planted or seen before the sign-in is worthless after it.

    It belongs to the password that was verified: when that has changed meanwhile, nobody is signed in.
    """
    await request.app[SESSION_STORAGE].forget(request, await get_session(request))
    session = await new_session(request)
    session[USER_ID] = str(user_id)
    session[web_sessions.BEGUN_BY] = web_sessions.mark_of_password(password_hash)
    await csrf_token(request)


async def count_guess(request: web.Request, account: str) -> None:
    """Raises `RequestRefused` after too many tries at one account's password."""
    result = await request.app[RATE_LIMITER].hit(GUESSES_NAME, GUESSES, _guess_key(request, account))
    if not result.allowed:
        raise RequestRefused(
            ProblemType.TOO_MANY_SIGN_INS,
            f"Too many attempts. Try again in {in_words(result.reset_seconds)}.",
            headers=result.headers,
        )


def _guess_key(request: web.Request, email: str) -> str:
    return f"{visitor_of(request).limit_key} {email.lower()}"


async def _refuse(request: web.Request, email: str, target: str, problem: str) -> web.StreamResponse:
    return await pages.login_page(
        request, problem=problem, email=email, target=target, status=HTTPStatus.UNAUTHORIZED
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
