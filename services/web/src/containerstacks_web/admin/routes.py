"""Every address of `/admin` on one screen: each is a page or a form, and both let only administrators in."""

from collections.abc import Sequence

from aiohttp import web

from . import billing, debts, incidents, keys, overview, price_holds, runs
from .access import form, page


def routes() -> Sequence[web.RouteDef]:
    return [
        page("", overview.show),
        page("/runs", runs.show_list),
        page("/runs/{id}", runs.show),
        page("/debts", debts.show_list),
        page("/organizations/{id}", debts.show_organization),
        page("/organizations/{id}/statement", debts.download_statement),
        page("/billing", billing.show),
        form("/billing/pause", billing.pause),
        form("/billing/resume", billing.resume),
        page("/billing/release", price_holds.show),
        form("/billing/release", price_holds.release),
        page("/incidents", incidents.show_list),
        page("/incidents/new", incidents.show_opening),
        form("/incidents/new", incidents.open_incident),
        page("/incidents/maintenance", incidents.show_planning),
        form("/incidents/maintenance", incidents.plan_maintenance),
        page("/incidents/{id}", incidents.show),
        form("/incidents/{id}", incidents.change),
        page("/keys", keys.show),
        form("/keys", keys.create),
        page("/keys/revoke", keys.show_revoking),
        form("/keys/revoke", keys.revoke),
    ]
