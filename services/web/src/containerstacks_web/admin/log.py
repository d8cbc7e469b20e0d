"""/admin/log: the audit log, newest first, of everybody or of one."""

from typing import Final

from aiohttp import web
from yarl import URL

from containerstacks_shared.fleet import action_log
from containerstacks_web.http.exchange import whole_number
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render

from .access import database

_PATH: Final = "/admin/log"
_ROWS_ON_PAGE: Final = 100


async def show(request: web.Request, _identity: Identity) -> web.Response:
    before = whole_number(request, "before")
    actor = request.query.get("actor") or None
    async with database(request) as connection:
        actions, has_older = await action_log.page(
            connection, limit=_ROWS_ON_PAGE, before=before, actor=actor
        )
    query: dict[str, str | int] = {} if actor is None else {"actor": actor}
    context = {
        "actions": actions,
        "actor": actor,
        "newer": None if before is None else str(URL.build(path=_PATH, query=query)),
        "older": str(URL.build(path=_PATH, query=query | {"before": actions[-1].id})) if has_older else None,
    }
    return await render(request, "admin/log.html", context)
