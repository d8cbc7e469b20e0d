"""What people see: the server renders each page whole, and a page's script keeps it true."""

from aiohttp import web

from containerstacks_web.keys import SETTINGS

from .assets import ASSETS, Assets
from .brand import Brand
from .rendering import setup_templates


def setup(app: web.Application) -> None:
    """Give the application its templates and static files."""
    brand = Brand.of(app[SETTINGS])
    assets = Assets.packaged(accent=app[SETTINGS].accent_color, logos=brand.logos)
    app[ASSETS] = assets
    setup_templates(app, assets, brand)
    app.router.add_get("/static/{digest}/{name:.+}", assets.serve, name="static")
