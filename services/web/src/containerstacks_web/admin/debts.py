"""/admin/debts and /admin/organizations: whose money ends when, what is owed, and a month's statement."""

from typing import Final
from uuid import UUID

from aiohttp import web

from containerstacks_shared.billing import debts
from containerstacks_shared.billing.statement_formats import StatementFormat
from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.fleet import organizations
from containerstacks_web.actions.statements import send_statement
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render

from .access import database

_ORGANIZATIONS_SHOWN: Final = 100
_DEBTS_SHOWN: Final = 200
_FOUND_MAX: Final = 50
_SEARCH_CHARACTERS_MAX: Final = 255


async def show_list(request: web.Request, _identity: Identity) -> web.Response:
    """Show the most urgent organizations, and those that were searched for."""
    typed = request.query.get("find", "").strip()[:_SEARCH_CHARACTERS_MAX]
    # Nobody's name has what PostgreSQL does not take.
    wanted = typed if typed.isprintable() else ""
    async with database(request) as connection:
        found = await organizations.search(connection, wanted, limit=_FOUND_MAX) if wanted else []
        context = {
            "counted": await debts.count_open(connection),
            "runways": await debts.read_runways(connection, limit=_ORGANIZATIONS_SHOWN),
            "limit": _ORGANIZATIONS_SHOWN,
            "typed": typed,
            "found": found,
            "found_max": _FOUND_MAX,
        }
    return await render(request, "admin/debts.html", context)


async def show_organization(request: web.Request, _identity: Identity) -> web.Response:
    identifier = _organization_id(request)
    async with database(request) as connection:
        try:
            organization = await organizations.find(connection, str(identifier))
        except NotFound:
            raise web.HTTPNotFound from None
        runways = await debts.read_runways(connection, organizations=[identifier])
        owed = await debts.read_open(connection, limit=_DEBTS_SHOWN, organization=identifier)
    context = {
        "organization": organization,
        "runway": runways[0] if runways else None,
        "debts": owed,
        "cut_off": len(owed) == _DEBTS_SHOWN,
    }
    return await render(request, "admin/organization.html", context)


async def download_statement(request: web.Request, _identity: Identity) -> web.StreamResponse:
    identifier = _organization_id(request)
    async with database(request) as connection:
        try:
            organization = await organizations.find(connection, str(identifier))
        except NotFound:
            raise web.HTTPNotFound from None
    return await send_statement(request, organization, usual=StatementFormat.CSV)


def _organization_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise web.HTTPNotFound from None
