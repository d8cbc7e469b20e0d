"""/embed: a small widget for other sites, which alone of all pages may be framed."""

from aiohttp import web

from containerstacks_shared.core.errors import DatabaseUnavailable
from containerstacks_shared.status.indicator import indicate
from containerstacks_web.live.board import STATUS_BOARD
from containerstacks_web.rendering.templates import render_with_etag


async def widget(request: web.Request) -> web.Response:
    try:
        components = (await request.app[STATUS_BOARD].current()).components
    except DatabaseUnavailable:
        components = ()
    status = indicate(component.state for component in components)
    return await render_with_etag(request, "embed.html", {"status": status}, etag_source=status)
