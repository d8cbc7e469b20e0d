"""Which role may open and send what: every address of the administration, as the table of routes has them."""

from typing import Final

import asyncpg
import pytest

from containerstacks_shared.fleet import permissions, users
from containerstacks_shared.fleet.users import UserRole
from containerstacks_web.routes import ROUTES
from support import fleet, long_incident, web_site
from support.billing import rows_of_all_tables
from support.web_site import OpenSite, Site

EVERYBODY: Final = {"auditor", "billing", "admin"}
MONEY: Final = {"billing", "admin"}
ADMIN: Final = {"admin"}
# The roles with access. A new address is listed here with its roles.
WHO: Final = {
    "GET /admin": EVERYBODY,
    "GET /admin/runs": EVERYBODY,
    "GET /admin/runs/{id}": EVERYBODY,
    "GET /admin/debts": EVERYBODY,
    "GET /admin/organizations/{id}": EVERYBODY,
    "GET /admin/organizations/{id}/statement": EVERYBODY,
    "GET /admin/organizations/{id}/credit": MONEY,
    "POST /admin/organizations/{id}/credit": MONEY,
    "GET /admin/organizations/{id}/refund": MONEY,
    "POST /admin/organizations/{id}/refund": MONEY,
    "GET /admin/organizations/{id}/write-off": MONEY,
    "POST /admin/organizations/{id}/write-off": MONEY,
    "GET /admin/billing": EVERYBODY,
    "POST /admin/billing/pause": ADMIN,
    "POST /admin/billing/resume": ADMIN,
    "GET /admin/billing/release": ADMIN,
    "POST /admin/billing/release": ADMIN,
    "GET /admin/incidents": EVERYBODY,
    "GET /admin/incidents/new": ADMIN,
    "POST /admin/incidents/new": ADMIN,
    "GET /admin/incidents/maintenance": ADMIN,
    "POST /admin/incidents/maintenance": ADMIN,
    "GET /admin/incidents/templates": EVERYBODY,
    "POST /admin/incidents/templates": ADMIN,
    "GET /admin/incidents/templates/{id}": ADMIN,
    "POST /admin/incidents/templates/{id}": ADMIN,
    "GET /admin/incidents/{id}": EVERYBODY,
    "POST /admin/incidents/{id}": ADMIN,
    "GET /admin/alerts": EVERYBODY,
    "GET /admin/log": EVERYBODY,
    "GET /admin/keys": EVERYBODY,
    "POST /admin/keys": ADMIN,
    "GET /admin/keys/revoke": ADMIN,
    "POST /admin/keys/revoke": ADMIN,
}
# What is only for administrators and staff in the API; the rest is everybody's, or a member's own.
OF_THE_API: Final = {
    "GET /api/billing/runs": EVERYBODY,
    "GET /api/billing/debts": EVERYBODY,
    "GET /api/billing/runways": EVERYBODY,
    "GET /api/billing/held-prices": EVERYBODY,
    "GET /api/alerts": EVERYBODY,
    "GET /api/audit-log": EVERYBODY,
    "GET /api/keys": EVERYBODY,
    "POST /api/keys": ADMIN,
    "DELETE /api/keys/{id}": ADMIN,
    "POST /api/incidents": ADMIN,
    "PATCH /api/incidents/{id}": ADMIN,
}
ROLES: Final = ("user", "auditor", "billing", "admin")


async def ask(site: Site, wanted: str, identifier: str, key: str) -> int:
    """Send the request without content: a permitted role gets an error about the content."""
    method, _, path = wanted.partition(" ")
    answer = await site.client.request(
        method,
        path.replace("{id}", identifier),
        headers={"X-API-Key": key, "Accept": "*/*"},
        allow_redirects=False,
    )
    return answer.status


def test_every_admin_address_names_its_roles() -> None:
    # A page answers HEAD as well, by the same handler.
    declared = {f"{route.method} {route.path}" for route in ROUTES if route.path.startswith("/admin")}
    assert declared == set(WHO)


async def test_each_role_has_access_to_its_pages_only(
    open_site: OpenSite, connection: asyncpg.Connection
) -> None:
    site = await open_site(without=("builtin_billing", "alerting", "key_uses"))
    organization = await fleet.add_organization(connection)
    incident = await long_incident.publish(connection)
    keys = {role: await web_site.add_api_key(connection, role=role) for role in ROLES}
    before = await rows_of_all_tables(connection)
    for wanted, roles in {**WHO, **OF_THE_API}.items():
        identifier = str(organization.id) if "organizations" in wanted else str(incident)
        for role, key in keys.items():
            status = await ask(site, wanted, identifier, key)
            assert (status != 403) == (role in roles), (wanted, role, status)
        if wanted in OF_THE_API:
            await assert_strangers_are_asked_who_they_are(site, wanted, identifier)
    # No request had content, so none had an effect, of a permitted role either.
    assert await rows_of_all_tables(connection) == before


async def assert_strangers_are_asked_who_they_are(site: Site, wanted: str, identifier: str) -> None:
    method, _, path = wanted.partition(" ")
    answer = await site.client.request(method, path.replace("{id}", identifier))
    assert answer.status == 401, wanted
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("role", ["auditor", "billing"])
async def test_a_role_sees_no_form_that_it_may_not_send(
    site: Site, connection: asyncpg.Connection, key: str, role: str
) -> None:
    staff = await web_site.add_api_key(connection, role=role)
    incident = await long_incident.publish(connection)
    await connection.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate) values (gen_random_uuid(), 'dear', 9)"
    )
    for path in ("/admin/billing", "/admin/incidents", f"/admin/incidents/{incident}", "/admin/keys"):
        shown = await site.page(path, x_api_key=staff)
        assert 'method="post"' not in shown.split('<div class="admin">')[1], path
        assert "button" not in shown.split('<div class="admin">')[1].split("</main>")[0], path
        to_admin = await site.page(path, x_api_key=key)
        assert 'class="button' in to_admin.split('<div class="admin">')[1], path


async def test_a_role_is_granted_and_revoked_at_the_next_request_and_logged(
    site: Site, connection: asyncpg.Connection
) -> None:
    key = await web_site.add_api_key(connection, role="user")
    user_id = await connection.fetchval("select id from users")
    user = await users.find_by_id(connection, user_id)
    assert user is not None
    assert (await site.get("/admin", x_api_key=key)).status == 403
    assert await permissions.set_staff_role(connection, user, UserRole.AUDITOR, author="ada")
    assert (await site.get("/admin", x_api_key=key)).status == 200
    # What administrators see of the public answers, too.
    assert "byRawStatus" in await (await site.get("/api/health/stats", x_api_key=key)).text()
    assert not await permissions.set_staff_role(connection, user, UserRole.AUDITOR, author="ada")
    assert await permissions.set_staff_role(connection, user, UserRole.BILLING, author="ada")
    assert await permissions.set_staff_role(connection, user, None, author="bob")
    assert not await permissions.set_staff_role(connection, user, None, author="bob")
    assert (await site.get("/admin", x_api_key=key)).status == 403
    await connection.execute("delete from staff_roles")
    logged = await connection.fetch(
        "select action, actor, details ->> 'role' as role from action_log where subject = $1 order by id",
        f"user {user_id}",
    )
    assert [tuple(row) for row in logged[:3]] == [
        ("role granted", "ada", "auditor"),
        ("role granted", "ada", "billing"),
        ("role revoked", "bob", "billing"),
    ]
