"""/admin/debts and /admin/organizations: whose money ends when, what is owed, and a month's statement."""

import asyncio
import io
import re
from http import HTTPStatus
from typing import Final
from uuid import UUID

from aiohttp import hdrs, web

from containerstacks_shared.billing import debts
from containerstacks_shared.billing.statement import Month, open_statement
from containerstacks_shared.billing.statement_formats import StatementFormat
from containerstacks_shared.billing.statement_formats import render as render_statement
from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.fleet import organizations
from containerstacks_web.database import POOL
from containerstacks_web.http.identity import Identity
from containerstacks_web.http.problems import RequestRefused
from containerstacks_web.rendering.templates import render

from .access import database

_ORGANIZATIONS_SHOWN: Final = 100
_DEBTS_SHOWN: Final = 200
_FOUND_MAX: Final = 50
_SEARCH_CHARACTERS_MAX: Final = 255
_CONNECTION_SECONDS_MAX: Final = 2.0
_CONTENT_TYPES: Final = {StatementFormat.CSV: "text/csv", StatementFormat.JSON: "application/json"}
_NOT_IN_FILE_NAME: Final = re.compile("[^a-z0-9]+")
_CHUNK_CHARACTERS: Final = 64 * 1024
# Whoever takes less than a chunk in so long holds up a connection to the database for nothing.
_WRITE_SECONDS_MAX: Final = 30.0


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
    try:
        month = Month.parse(request.query.get("month", ""))
        wanted = StatementFormat(request.query.get("format", StatementFormat.CSV))
    except ValueError:
        raise RequestRefused(
            HTTPStatus.BAD_REQUEST, "month takes one like 2026-03, and format csv or json."
        ) from None
    pool = request.app[POOL]
    try:
        async with (
            pool.acquire(timeout=_CONNECTION_SECONDS_MAX) as connection,
            open_statement(connection, organization=str(identifier), month=month) as statement,
        ):
            organization = await organizations.find(connection, str(identifier))
            slug = _NOT_IN_FILE_NAME.sub("-", organization.slug.lower()).strip("-") or str(identifier)
            name = f"statement-{slug}-{month}.{wanted.value}"
            headers = {
                hdrs.CONTENT_TYPE: f"{_CONTENT_TYPES[wanted]}; charset=utf-8",
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
            }
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            chunk = io.StringIO()
            async for piece in render_statement(statement, wanted):
                chunk.write(piece)
                if chunk.tell() > _CHUNK_CHARACTERS:
                    await _write(response, chunk.getvalue())
                    chunk = io.StringIO()
            await _write(response, chunk.getvalue())
    except NotFound:
        raise web.HTTPNotFound from None
    return response


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(_WRITE_SECONDS_MAX):
        await response.write(text.encode())


def _organization_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise web.HTTPNotFound from None
