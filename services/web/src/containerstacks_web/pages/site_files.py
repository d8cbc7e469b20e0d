"""The small files that browsers, robots and researchers ask every site for."""

from datetime import UTC, datetime, timedelta
from typing import Final

import aiohttp_jinja2
from aiohttp import web

from containerstacks_web.rendering.assets import ASSETS
from containerstacks_web.rendering.brand import Brand
from containerstacks_web.settings import SETTINGS

_ROBOTS: Final = "User-agent: *\nDisallow: /admin\nDisallow: /login\nDisallow: /logout\n"
# After this time a reader should fetch the file again.
_SECURITY_LIFETIME: Final = timedelta(days=90)


async def favicon(request: web.Request) -> web.StreamResponse:
    """Lead browsers that ask without looking at the page to the icon that pages name."""
    brand = aiohttp_jinja2.get_env(request.app).globals["BRAND"]
    assert isinstance(brand, Brand)
    raise web.HTTPFound(request.app[ASSETS].url(brand.icon))


async def robots(_request: web.Request) -> web.Response:
    return web.Response(text=_ROBOTS)


async def security(request: web.Request) -> web.Response:
    """RFC 9116, if the operator has said where to write to."""
    contact = request.app[SETTINGS].security_contact
    if contact is None:
        raise web.HTTPNotFound
    expires = (datetime.now(UTC) + _SECURITY_LIFETIME).replace(hour=0, minute=0, second=0, microsecond=0)
    return web.Response(text=f"Contact: {contact}\nExpires: {expires:%Y-%m-%dT%H:%M:%SZ}\n")
