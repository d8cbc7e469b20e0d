"""/admin/billing: pause and resume all billing, and see which prices are on hold."""

from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.billing import control
from containerstacks_shared.billing.price_holds import read_held
from containerstacks_shared.core.errors import ChangeRefused
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render
from containerstacks_web.sign_in.messages import leave_message

from .access import database
from .forms import Form, read_form, read_reason

_PATH: Final = "/admin/billing"
_HELD_MAX: Final = 100

_log = structlog.get_logger(__name__)


async def show(request: web.Request, _identity: Identity) -> web.Response:
    return await _page(request, Form())


async def pause(request: web.Request, identity: Identity) -> web.Response:
    reason, form = read_reason(await read_form(request))
    if form.problems:
        return await _page(request, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        async with database(request) as connection, connection.transaction():
            await control.pause(connection, reason=reason, author=identity.author)
    except ChangeRefused:
        problem = "Billing is already paused, for the reason above."
        return await _page(request, form.with_problem("", problem), status=HTTPStatus.CONFLICT)
    _log.warning("billing.paused", author=identity.author, reason=reason)
    await leave_message(request, "Billing is paused.")
    raise web.HTTPSeeOther(_PATH)


async def resume(request: web.Request, identity: Identity) -> web.Response:
    reason, form = read_reason(await read_form(request))
    if form.problems:
        return await _page(request, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    async with database(request) as connection, connection.transaction():
        resumed = await control.resume(connection, reason=reason, author=identity.author)
    if resumed:
        _log.warning("billing.resumed", author=identity.author, reason=reason)
        await leave_message(request, "Billing has resumed.")
    raise web.HTTPSeeOther(_PATH)


async def _page(request: web.Request, form: Form, *, status: int = HTTPStatus.OK) -> web.Response:
    async with database(request) as connection:
        context = {
            "form": form,
            "control": await control.read_control(connection),
            "held": await read_held(connection, limit=_HELD_MAX),
        }
    return await render(request, "admin/billing.html", context, status=status)
