"""/admin/keys: API keys are listed, created (and shown once) and revoked."""

import re
from datetime import UTC, date, datetime, time
from http import HTTPStatus
from typing import Final

from aiohttp import web

from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.api_keys import ApiKeyScope
from containerstacks_web.actions import api_keys as actions
from containerstacks_web.actions.api_keys import ApiKeyRequest
from containerstacks_web.http.client_address import visitor_of
from containerstacks_web.http.exchange import parse_id, whole_number
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render
from containerstacks_web.sign_in.messages import leave_message

from .access import database
from .forms import Form, checked, read_form

_PATH: Final = "/admin/keys"
_KEYS_ON_PAGE: Final = 50
_PAGES_MAX: Final = 100_000
# Long enough for the next page to load.
_COOKIE: Final = "containerstacks_new_key"
_COOKIE_SECONDS: Final = 60
_KEY: Final = re.compile(rf"{api_keys.PREFIX}[0-9a-f]{{64}}")


async def show(request: web.Request, _identity: Identity) -> web.Response:
    return await _page(request, Form({"scopes": [ApiKeyScope.STATUS]}), made=_just_made(request))


async def create(request: web.Request, identity: Identity) -> web.Response:
    """Create a key. It is stored nowhere: a cookie carries it to the next page, which shows it once."""
    form = await read_form(request)
    wanted, problems = _read_wish(form, identity)
    if wanted is None or problems:
        return await _page(request, form.with_problems(problems), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    async with database(request) as connection, connection.transaction():
        made = await actions.create(connection, wanted, identity)
    # Not this answer: loading it again would create another key.
    following = web.HTTPSeeOther(_PATH)
    following.set_cookie(
        _COOKIE,
        made.key,
        max_age=_COOKIE_SECONDS,
        path=_PATH,
        secure=visitor_of(request).secure,
        httponly=True,
        samesite="Strict",
    )
    raise following


async def show_revoking(request: web.Request, _identity: Identity) -> web.Response:
    async with database(request) as connection:
        key = await api_keys.find_listed(connection, parse_id(request.query.get("key_id", "")))
    return await render(request, "admin/revoke.html", {"key": key})


async def revoke(request: web.Request, identity: Identity) -> web.Response:
    """End a key. One that has ended already stays so."""
    key_id = parse_id((await read_form(request)).value("key_id"))
    async with database(request) as connection:
        revoked = await actions.revoke(connection, key_id, identity)
    await leave_message(request, "Key revoked." if revoked else "This key had been revoked before.")
    raise web.HTTPSeeOther(_PATH)


def _read_wish(form: Form, identity: Identity) -> tuple[ApiKeyRequest | None, dict[str, str]]:
    problems = {}
    expires_at = None
    if text := form.value("expires_on"):
        try:
            expires_at = datetime.combine(date.fromisoformat(text), time(), UTC)
        except ValueError:
            problems["expires_on"] = "Enter a date, like 2030-01-31."
    if problem := actions.find_problem(expires_at, identity, now=datetime.now(UTC)):
        problems.setdefault("expires_on", problem.value)
    values = {"name": form.value("name").strip(), "scopes": list(form.values.get("scopes", ()))}
    wanted, other = checked(ApiKeyRequest, {**values, "expires_at": expires_at})
    return wanted, other | problems


def _just_made(request: web.Request) -> str | None:
    key = request.cookies.get(_COOKIE, "")
    return key if _KEY.fullmatch(key) else None


async def _page(
    request: web.Request, form: Form, *, made: str | None = None, status: int = HTTPStatus.OK
) -> web.Response:
    number = whole_number(request, "page", most=_PAGES_MAX) or 1
    async with database(request) as connection:
        found = await api_keys.list_all(
            connection, limit=_KEYS_ON_PAGE + 1, offset=(number - 1) * _KEYS_ON_PAGE
        )
    context = {
        "form": form,
        "made": made,
        "scopes": list(ApiKeyScope),
        "keys": found[:_KEYS_ON_PAGE],
        "newer": f"{_PATH}?page={number - 1}" if number > 1 else None,
        "older": f"{_PATH}?page={number + 1}" if len(found) > _KEYS_ON_PAGE else None,
    }
    # A secret is not compressed together with text from others: the size would give it away.
    response = await render(request, "admin/keys.html", context, status=status, compressed=made is None)
    if made is not None:
        response.del_cookie(_COOKIE, path=_PATH)
    return response
