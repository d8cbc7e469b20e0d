"""What people see: the server renders each page whole, and a page's script keeps it true."""

from datetime import timedelta

from aiohttp import web

from containerstacks_shared.billing.status import overdue_after
from containerstacks_shared.fleet.vps import VpsStatusGroup
from containerstacks_shared.status import component_rules
from containerstacks_web.rendering.assets import ASSETS, Assets
from containerstacks_web.rendering.brand import Brand
from containerstacks_web.rendering.templates import setup_templates
from containerstacks_web.settings import SETTINGS

from . import charts, components, incidents
from .history import ChartRange


def setup(app: web.Application) -> None:
    """Give the application its templates and static files."""
    brand = Brand.of(app[SETTINGS])
    assets = Assets.packaged(accent=app[SETTINGS].accent_color, logos=brand.logos)
    app[ASSETS] = assets
    environment = setup_templates(app, assets, brand)
    environment.filters.update(
        name_of_day=components.name_of_day,
        bad_tenths=components.bad_tenths,
        uptime_in_sight=components.uptime_in_sight,
        uptimes_in_words=components.uptimes_in_words,
        state_word=components.state_word,
        status_word=components.status_word,
        grade=incidents.grade,
    )
    environment.globals.update(
        STATE_WORDS=components.STATE_WORDS,
        STATUS_COLUMNS=[(group.value, group.value.capitalize()) for group in VpsStatusGroup],
        OVERDUE_MINUTES=overdue_after(app[SETTINGS].billing_interval) // timedelta(minutes=1),
        CHART_RANGES=tuple(ChartRange),
        CHART_HEIGHT=charts.HEIGHT,
        COMPONENT_RULES=component_rules.RULES,
        UPTIME_FORMULA=component_rules.UPTIME_FORMULA,
        UPTIME_NOTE=component_rules.UPTIME_NOTE,
        DAY_NOTE=component_rules.DAY_NOTE,
    )
    app.router.add_get("/static/{digest}/{name:.+}", assets.serve, name="static")
