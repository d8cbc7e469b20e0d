"""Every address of the service on one screen (static files and probes aside)."""

from typing import Final

from aiohttp import web

from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.admin import access as admin
from containerstacks_web.admin import alerts as admin_alerts
from containerstacks_web.admin import billing as admin_billing
from containerstacks_web.admin import corrections as admin_corrections
from containerstacks_web.admin import credits as admin_credits
from containerstacks_web.admin import debts as admin_debts
from containerstacks_web.admin import incident_templates as admin_templates
from containerstacks_web.admin import incidents as admin_incidents
from containerstacks_web.admin import keys as admin_keys
from containerstacks_web.admin import log as admin_log
from containerstacks_web.admin import organizations as admin_organizations
from containerstacks_web.admin import overview as admin_overview
from containerstacks_web.admin import price_holds as admin_price_holds
from containerstacks_web.admin import runs as admin_runs
from containerstacks_web.api import (
    alerts,
    atom,
    audit_log,
    badges,
    billing,
    calendar,
    docs,
    health,
    incidents,
    keys,
    openapi,
    organizations,
)
from containerstacks_web.api import statuspage_handlers as v2
from containerstacks_web.http.paths import EMBED_PATH, SOCKET_PATH
from containerstacks_web.http.problem_types import PROBLEMS_PREFIX
from containerstacks_web.live.socket import status_socket
from containerstacks_web.pages import account, embed, incident_pages, password, sign_in, site_files
from containerstacks_web.pages import handlers as pages

ROUTES: Final = (
    web.get("/", pages.index),
    web.get("/status", pages.status),
    web.get("/about", pages.about),
    web.get("/incidents", incident_pages.show_month),
    web.get("/incidents/{id}", incident_pages.show),
    web.get(EMBED_PATH, embed.widget),
    web.get("/favicon.ico", site_files.favicon),
    web.get("/robots.txt", site_files.robots),
    web.get("/.well-known/security.txt", site_files.security),
    web.get("/account", account.show),
    web.get("/account/password", password.show),
    web.post("/account/password", password.change),
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
    web.get(calendar.CALENDAR_PATH, calendar.calendar),
    web.get("/api/v2/summary.json", v2.summary),
    web.get("/api/v2/status.json", v2.status),
    web.get("/api/v2/components.json", v2.components),
    web.get("/api/v2/incidents.json", v2.all_incidents),
    web.get("/api/v2/incidents/unresolved.json", v2.unresolved_incidents),
    web.get("/api/v2/scheduled-maintenances.json", v2.all_maintenances),
    web.get("/api/v2/scheduled-maintenances/upcoming.json", v2.upcoming_maintenances),
    web.get("/api/v2/scheduled-maintenances/active.json", v2.active_maintenances),
    web.get("/api/billing/runs", billing.runs),
    web.get("/api/billing/debts", billing.all_debts),
    web.get("/api/billing/runways", billing.runways),
    web.get("/api/billing/held-prices", billing.held_prices),
    web.get("/api/organizations", organizations.list_organizations),
    web.get("/api/organizations/{id}", organizations.read_organization),
    web.get("/api/organizations/{id}/balance", organizations.read_balance),
    web.get("/api/organizations/{id}/debts", organizations.read_debts),
    web.get("/api/organizations/{id}/statement", organizations.read_statement),
    web.get("/api/alerts", alerts.read_alerts),
    web.get("/api/audit-log", audit_log.read_log),
    web.get("/api/keys", keys.list_keys),
    web.post("/api/keys", keys.create_key),
    web.delete("/api/keys/{id}", keys.revoke_key),
    web.get("/api/openapi.json", openapi.openapi_document),
    web.get("/api/docs", docs.docs_page),
    web.get(PROBLEMS_PREFIX.rstrip("/"), docs.problems_index),
    web.get(docs.PROBLEM_PATH, docs.problem_page),
    web.get(SOCKET_PATH, status_socket),
    # Each is a page, which takes the permission to read unless it says more, or a form.
    admin.page("/admin", admin_overview.show),
    admin.page("/admin/runs", admin_runs.show_list),
    admin.page("/admin/runs/{id}", admin_runs.show),
    admin.page("/admin/debts", admin_debts.show_list),
    admin.page("/admin/organizations/{id}", admin_organizations.show),
    admin.page("/admin/organizations/{id}/statement", admin_organizations.download_statement),
    admin.page("/admin/organizations/{id}/credit", admin_credits.show, Permission.MOVE_MONEY),
    admin.form("/admin/organizations/{id}/credit", admin_credits.credit, Permission.MOVE_MONEY),
    admin.page("/admin/organizations/{id}/refund", admin_corrections.show_refund, Permission.MOVE_MONEY),
    admin.form("/admin/organizations/{id}/refund", admin_corrections.refund, Permission.MOVE_MONEY),
    admin.page(
        "/admin/organizations/{id}/write-off", admin_corrections.show_write_off, Permission.MOVE_MONEY
    ),
    admin.form("/admin/organizations/{id}/write-off", admin_corrections.write_off, Permission.MOVE_MONEY),
    admin.page("/admin/billing", admin_billing.show),
    admin.form("/admin/billing/pause", admin_billing.pause, Permission.CONTROL_BILLING),
    admin.form("/admin/billing/resume", admin_billing.resume, Permission.CONTROL_BILLING),
    admin.page("/admin/billing/release", admin_price_holds.show, Permission.CONTROL_BILLING),
    admin.form("/admin/billing/release", admin_price_holds.release, Permission.CONTROL_BILLING),
    admin.page("/admin/incidents", admin_incidents.show_list),
    admin.page("/admin/incidents/new", admin_incidents.show_opening, Permission.PUBLISH),
    admin.form("/admin/incidents/new", admin_incidents.open_incident, Permission.PUBLISH),
    admin.page("/admin/incidents/maintenance", admin_incidents.show_planning, Permission.PUBLISH),
    admin.form("/admin/incidents/maintenance", admin_incidents.plan_maintenance, Permission.PUBLISH),
    admin.page("/admin/incidents/templates", admin_templates.show_list),
    admin.form("/admin/incidents/templates", admin_templates.add, Permission.PUBLISH),
    admin.page("/admin/incidents/templates/{id}", admin_templates.show, Permission.PUBLISH),
    admin.form("/admin/incidents/templates/{id}", admin_templates.change, Permission.PUBLISH),
    admin.page("/admin/incidents/{id}", admin_incidents.show),
    admin.form("/admin/incidents/{id}", admin_incidents.change, Permission.PUBLISH),
    admin.page("/admin/alerts", admin_alerts.show),
    admin.page("/admin/log", admin_log.show),
    admin.page("/admin/keys", admin_keys.show),
    admin.form("/admin/keys", admin_keys.create, Permission.MANAGE_KEYS),
    admin.page("/admin/keys/revoke", admin_keys.show_revoking, Permission.MANAGE_KEYS),
    admin.form("/admin/keys/revoke", admin_keys.revoke, Permission.MANAGE_KEYS),
)
