"""Access to `/admin`: every page and every form is made here, so that none can skip the check."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import hdrs, web
from aiohttp_session import get_session
from yarl import URL

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.database import POOL
from containerstacks_web.http.identity import IDENTITY, CredentialKind, Identity, RequestRole
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused
from containerstacks_web.sign_in.csrf import assert_csrf

Handler = Callable[[web.Request, Identity], Awaitable[web.StreamResponse]]

_READ_SECONDS_MAX: Final = 10.0


def page(path: str, handler: Handler, permission: Permission = Permission.READ) -> web.RouteDef:
    async def guarded(request: web.Request) -> web.StreamResponse:
        return await handler(request, await _enter(request, permission))

    return web.get(path, guarded)


def form(path: str, handler: Handler, permission: Permission) -> web.RouteDef:
    async def guarded(request: web.Request) -> web.StreamResponse:
        identity = await _enter(request, permission)
        # A credential in a header comes along with nothing that another site causes.
        if identity.credential is CredentialKind.SESSION:
            await assert_csrf(request)
        return await handler(request, identity)

    return web.post(path, guarded)


@asynccontextmanager
async def database(request: web.Request) -> AsyncIterator[Connection]:
    """Lend a connection for what one page reads. Raises one of `db.UNAVAILABLE`."""
    async with lend(request.app[POOL], within=_READ_SECONDS_MAX) as connection:
        yield connection


async def _enter(request: web.Request, permission: Permission) -> Identity:
    """Return who asks, if they have the permission; anonymous visitors are sent to the sign-in form."""
    identity = request[IDENTITY]
    if identity.role is RequestRole.ANONYMOUS:
        # Raises when the session could not be looked up: the error page says that the database is away.
        await get_session(request)
        raise web.HTTPSeeOther(URL.build(path="/login", query={"next": _way_back(request)}))
    if not identity.may(permission):
        raise RequestRefused(ProblemType.FORBIDDEN, f"You are not allowed to {permission}.")
    return identity


def _way_back(request: web.Request) -> str:
    """Return the page that a form was sent from, where its script restores what was typed."""
    if request.method != hdrs.METH_POST:
        return request.path_qs
    resource = request.match_info.route.resource
    has_page = any(route.method == hdrs.METH_GET for route in resource or ())
    return request.path if has_page else "/".join(request.path.split("/")[:3])
