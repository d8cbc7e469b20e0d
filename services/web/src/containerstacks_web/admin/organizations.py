"""/admin/organizations: what one has, owes and paid, and a month's statement."""

from typing import Final

from aiohttp import web

from containerstacks_shared.billing import books, debts
from containerstacks_shared.billing.statement_formats import StatementFormat
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import organizations
from containerstacks_shared.fleet.organizations import Organization
from containerstacks_web.actions.statements import send_statement
from containerstacks_web.http.exchange import parse_id, whole_number
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render

from .access import database

_DEBTS_SHOWN: Final = 200
_INSTANCES_SHOWN: Final = 200
_CHARGES_SHOWN: Final = 50
_MOVEMENTS_ON_PAGE: Final = 50


async def show(request: web.Request, _identity: Identity) -> web.Response:
    before = whole_number(request, "before")
    async with database(request) as connection:
        organization = await find_in_path(request, connection)
        runways = await debts.read_runways(connection, organizations=[organization.id])
        balance = await debts.read_balance(connection, organization.id)
        owed = await debts.read_open(connection, limit=_DEBTS_SHOWN, organization=organization.id)
        instances = await books.read_instances(connection, organization.id, limit=_INSTANCES_SHOWN)
        charges = await books.read_charges(connection, organization.id, limit=_CHARGES_SHOWN)
        movements, has_older = await books.read_movements(
            connection, organization.id, limit=_MOVEMENTS_ON_PAGE, before=before
        )
    context = {
        "organization": organization,
        "runway": runways[0] if runways else None,
        "balance": balance,
        "debts": owed,
        "debts_max": _DEBTS_SHOWN,
        "instances": instances,
        "instances_max": _INSTANCES_SHOWN,
        "charges": charges,
        "charges_max": _CHARGES_SHOWN,
        "movements": movements,
        "newer": f"{request.path}#movements-heading" if before is not None else None,
        "older": f"{request.path}?before={movements[-1].id}#movements-heading" if has_older else None,
    }
    return await render(request, "admin/organization.html", context)


async def download_statement(request: web.Request, _identity: Identity) -> web.StreamResponse:
    async with database(request) as connection:
        organization = await find_in_path(request, connection)
    return await send_statement(request, organization, usual=StatementFormat.CSV)


def address_of(organization: Organization) -> str:
    return f"/admin/organizations/{organization.id}"


async def find_in_path(request: web.Request, connection: Connection) -> Organization:
    return await organizations.find(connection, str(parse_id(request.match_info["id"])))
