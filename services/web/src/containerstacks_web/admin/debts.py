"""/admin/debts: whose money ends when, and where an organization is found."""

from typing import Final

from aiohttp import web

from containerstacks_shared.billing import debts
from containerstacks_shared.fleet import organizations
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render

from .access import database

_ORGANIZATIONS_SHOWN: Final = 100
_FOUND_MAX: Final = 50
_SEARCH_CHARACTERS_MAX: Final = 255


async def show_list(request: web.Request, _identity: Identity) -> web.Response:
    """Show the most urgent organizations, and those that were searched for."""
    typed = request.query.get("find", "").strip()[:_SEARCH_CHARACTERS_MAX]
    # No name has characters that PostgreSQL refuses.
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
