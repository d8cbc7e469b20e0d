"""What people see: the server renders each page whole, and a page's script keeps it true."""

from aiohttp import web

from .assets import ASSETS, Assets
from .rendering import setup_templates


def setup(app: web.Application) -> None:
    """Give the application its templates and static files."""
    assets = Assets.packaged()
    app[ASSETS] = assets
    setup_templates(app, assets)
    app.router.add_get("/static/{digest}/{name:.+}", assets.serve, name="static")
