"""/admin/keys: API keys are listed, made (and shown once) and revoked."""

from datetime import UTC, date, datetime, time
from http import HTTPStatus
from typing import Final
from uuid import UUID

import structlog
from aiohttp import web

from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.api_keys import ApiKeyScope, NewApiKey
from containerstacks_shared.fleet.users import UserId
from containerstacks_web.api.documents import ApiKeyRequest
from containerstacks_web.api.exchange import whole_number
from containerstacks_web.pages.rendering import render
from containerstacks_web.sign_in.identity import Identity

from .access import database
from .forms import Form, checked, read_form

_PATH: Final = "/admin/keys"
_KEYS_ON_PAGE: Final = 50
_PAGES_MAX: Final = 100_000

_log = structlog.get_logger(__name__)


async def show(request: web.Request, _identity: Identity) -> web.Response:
    return await _page(request, Form({"scopes": [ApiKeyScope.STATUS]}))


async def create(request: web.Request, identity: Identity) -> web.Response:
    """Make a key for whoever asks, and answer with it: it is kept nowhere, so there is no page to go back to."""
    form = await read_form(request)
    wanted, problems = _read_wish(form, identity)
    if wanted is None or problems:
        return await _page(request, form.with_problems(problems), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    assert identity.user_id is not None
    async with database(request) as connection, connection.transaction():
        made = await api_keys.create(
            connection,
            UserId(identity.user_id),
            name=wanted.name,
            scopes=frozenset(wanted.scopes),
            expires_at=wanted.expires_at,
        )
    _log.info("api_key.created", key_id=str(made.id), user_id=str(identity.user_id))
    return await _page(request, Form(), made=made, status=HTTPStatus.CREATED)


async def revoke(request: web.Request, identity: Identity) -> web.Response:
    """End a key. One that has ended already stays so."""
    form = await read_form(request)
    try:
        key_id = UUID(form.value("key_id"))
    except ValueError:
        raise web.HTTPNotFound from None
    async with database(request) as connection:
        revoked = await api_keys.revoke(connection, key_id)
    if revoked:
        _log.info("api_key.revoked", key_id=str(key_id), user_id=str(identity.user_id))
    raise web.HTTPSeeOther(_PATH)


def _read_wish(form: Form, identity: Identity) -> tuple[ApiKeyRequest | None, dict[str, str]]:
    problems = {}
    expires_at = None
    if text := form.value("expires_on"):
        try:
            expires_at = datetime.combine(date.fromisoformat(text), time(), UTC)
        except ValueError:
            problems["expires_on"] = "Give a date, like 2030-01-31."
        else:
            if expires_at <= datetime.now(UTC):
                problems["expires_on"] = "This is not in the future."
    own_end = identity.credential_expires_at
    if own_end is not None and (expires_at is None or expires_at > own_end):
        problems.setdefault("expires_on", "A key that ends makes no key that outlives it.")
    values = {"name": form.value("name").strip(), "scopes": list(form.values.get("scopes", ()))}
    wanted, other = checked(ApiKeyRequest, {**values, "expires_at": expires_at})
    return wanted, other | problems


async def _page(
    request: web.Request, form: Form, *, made: NewApiKey | None = None, status: int = HTTPStatus.OK
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
    # What holds a secret is not compressed beside what somebody else may have typed.
    return await render(request, "admin/keys.html", context, status=status, compressed=made is None)
