"""A month's statement of an organization, sent in pieces while it is read."""

import asyncio
import io
import re
from typing import Final

from aiohttp import hdrs, web

from containerstacks_shared.billing.statement import Month, open_statement
from containerstacks_shared.billing.statement_formats import StatementFormat, render
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet.organizations import Organization
from containerstacks_web.database import POOL
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused

_CONTENT_TYPES: Final = {StatementFormat.CSV: "text/csv", StatementFormat.JSON: "application/json"}
_NOT_IN_FILE_NAME: Final = re.compile("[^a-z0-9]+")
_CHUNK_CHARACTERS: Final = 64 * 1024
# A client slower than a chunk in this time would hold a connection to the database.
_WRITE_SECONDS_MAX: Final = 30.0


async def send_statement(
    request: web.Request, organization: Organization, *, usual: StatementFormat
) -> web.StreamResponse:
    """Send the statement of `?month=` in `?format=`, or in the usual one, as a file called after the organization."""
    try:
        month = Month.parse(request.query.get("month", ""))
        wanted = StatementFormat(request.query.get("format", usual))
    except ValueError:
        raise RequestRefused(
            ProblemType.INVALID_PARAMETER,
            "month takes one like 2026-03, and format csv or json.",
        ) from None
    slug = _NOT_IN_FILE_NAME.sub("-", organization.slug.lower()).strip("-") or str(organization.id)
    headers = {
        hdrs.CONTENT_TYPE: f"{_CONTENT_TYPES[wanted]}; charset=utf-8",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="statement-{slug}-{month}.{wanted.value}"',
    }
    response = web.StreamResponse(headers=headers)
    try:
        async with (
            lend(request.app[POOL]) as connection,
            open_statement(connection, organization=str(organization.id), month=month) as statement,
        ):
            await response.prepare(request)
            chunk = io.StringIO()
            async for piece in render(statement, wanted):
                chunk.write(piece)
                if chunk.tell() > _CHUNK_CHARACTERS:
                    await _write(response, chunk.getvalue())
                    chunk = io.StringIO()
            await _write(response, chunk.getvalue())
    except BaseException:
        if response.prepared and request.transport is not None:
            # Half a statement must not look whole, and the answer to the error must not follow it.
            request.transport.abort()
        raise
    return response


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(_WRITE_SECONDS_MAX):
        await response.write(text.encode())
