"""/admin/alerts: what the alerts are about, since when, and whether they reached their receivers."""

from typing import Final

from aiohttp import web

from containerstacks_shared.alerts import records
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render

from .access import database

_ALERTS_SHOWN: Final = 100


async def show(request: web.Request, _identity: Identity) -> web.Response:
    async with database(request) as connection:
        found = await records.read_recent(connection, limit=_ALERTS_SHOWN)
    return await render(request, "admin/alerts.html", {"alerts": found, "limit": _ALERTS_SHOWN})
