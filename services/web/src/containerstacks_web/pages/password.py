"""/account/password: signed-in users change their own password, unless an original application owns the passwords."""

import asyncio
from http import HTTPStatus

import structlog
from aiohttp import web

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import action_log, passwords, users
from containerstacks_shared.fleet.passwords import PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN
from containerstacks_shared.fleet.users import UserId
from containerstacks_web.database import POOL
from containerstacks_web.http.identity import IDENTITY
from containerstacks_web.rendering.templates import render
from containerstacks_web.sign_in.csrf import assert_csrf
from containerstacks_web.sign_in.messages import leave_message

from .account import signed_in_user
from .sign_in import PASSWORD_CHECKS, begin_session, count_guess

_log = structlog.get_logger(__name__)


async def show(request: web.Request) -> web.Response:
    return await _page(request, await signed_in_user(request), {})


async def change(request: web.Request) -> web.StreamResponse:
    """Take the new password, and end every other session of the account: the old password began them."""
    user_id = await signed_in_user(request)
    form = await request.post()
    await assert_csrf(request)
    current, new, again = (str(form.get(name, "")) for name in ("current", "new", "again"))
    if problems := _problems(new, again):
        return await _page(request, user_id, problems)
    await count_guess(request, str(user_id))
    async with lend(request.app[POOL]) as connection:
        stored = await users.read_credentials(connection, user_id)
    async with request.app[PASSWORD_CHECKS]:
        known = None if stored is None else stored.password_hash
        checked = await asyncio.to_thread(passwords.verify_password, current, known)
        if not checked.matches or stored is None:
            return await _page(request, user_id, {"current": "This is not your password."})
        hashed = await asyncio.to_thread(passwords.hash_password, new)
    async with lend(request.app[POOL]) as connection, connection.transaction():
        if not await users.replace_password_hash(
            connection, user_id, before=stored.password_hash, after=hashed
        ):
            return await _page(request, user_id, {"current": "Your password cannot be changed here."})
        await action_log.add(connection, "password changed", actor=request[IDENTITY].author)
    await begin_session(request, user_id, password_hash=hashed)
    _log.info("password.changed", user_id=str(user_id))
    await leave_message(request, "Password changed. You are signed out everywhere else.")
    raise web.HTTPSeeOther("/account")


def _problems(new: str, again: str) -> dict[str, str]:
    if not PASSWORD_CHARACTERS_MIN <= len(new) <= PASSWORD_CHARACTERS_MAX:
        return {"new": f"Use {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters."}
    if new != again:
        return {"again": "This is not the same as above."}
    return {}


async def _page(request: web.Request, user_id: UserId, problems: dict[str, str]) -> web.Response:
    async with lend(request.app[POOL]) as connection:
        keeps_passwords = await users.keeps_passwords(connection)
        stored = await users.read_credentials(connection, user_id)
    context = {
        "problems": problems,
        "email": "" if stored is None else stored.email,
        "keeps_passwords": keeps_passwords,
        "characters_min": PASSWORD_CHARACTERS_MIN,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK
    return await render(request, "password.html", context, status=status)
