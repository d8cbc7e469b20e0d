"""Every address of the service on one screen (static files and probes aside)."""

from aiohttp import web

from .admin.routes import routes as admin_routes
from .api import atom, badges, billing, docs, health, incidents, keys, openapi
from .conventions import SOCKET_PATH
from .live.socket import status_socket
from .pages import handlers as pages
from .sign_in import handlers as sign_in


def add_routes(app: web.Application) -> None:
    app.router.add_routes(
        [
            web.get("/", pages.index),
            web.get("/status", pages.status),
            web.get("/about", pages.about),
            web.get("/login", pages.login_form),
            web.post("/login", sign_in.sign_in),
            web.post("/logout", sign_in.sign_out),
            web.get("/logout/everywhere", pages.sign_out_everywhere_form),
            web.post("/logout/everywhere", sign_in.sign_out_everywhere),
            web.get("/api/health", health.health),
            web.get("/api/health/stats", health.statistics),
            web.get("/api/health/billing-daemon", health.billing_daemon),
            web.get("/api/health/platform-stats", health.platform_statistics),
            web.get("/api/status/components", incidents.read_components),
            web.get("/api/incidents", incidents.list_incidents),
            web.post("/api/incidents", incidents.open_incident),
            web.get("/api/incidents/{id}", incidents.read_incident),
            web.patch("/api/incidents/{id}", incidents.change_incident),
            web.get(atom.FEED_PATH, atom.feed),
            web.get("/badge/{name}.svg", badges.badge),
            web.get("/api/billing/runs", billing.runs),
            web.get("/api/keys", keys.list_keys),
            web.post("/api/keys", keys.create_key),
            web.delete("/api/keys/{id}", keys.revoke_key),
            web.get("/api/openapi.json", openapi.openapi_document),
            web.get("/api/docs", docs.docs_page),
            web.get(SOCKET_PATH, status_socket),
            *admin_routes(),
        ]
    )
