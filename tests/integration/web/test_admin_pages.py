"""The administrators' pages: who enters, what a form may do, and that no name is more than text."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import aiohttp
import asyncpg
import pytest

from containerstacks_shared.billing import control
from containerstacks_shared.billing.price_holds import read_held
from containerstacks_web.routes import ROUTES
from support import fleet, web_site
from support.billing import Billing, rows_of_all_tables
from support.fleet import Organization
from support.waiting import LIMIT_SECONDS
from support.web_site import OpenSite, Site

EMAIL = "ada@example.com"
NASTY = "<script>alert(1)</script>"


@pytest.fixture
async def debtor(connection: asyncpg.Connection, billing: Billing) -> Organization:
    """Owes three hours of an instance, after one run of billing, an incident and a key of a nasty name."""
    organization = await fleet.add_organization(connection, balance="0.02")
    await connection.execute("update organizations set name = $1", NASTY)
    plan = await fleet.add_plan(connection)
    await fleet.add_instance(connection, organization, plan, label=NASTY, hours_due=5)
    await billing.run()
    await connection.execute(
        "with opened as (insert into incidents (kind, title, impact, status, components)"
        " values ('incident', $1, 'minor', 'monitoring', '{web}') returning id)"
        " insert into incident_updates (incident_id, status, body, author)"
        " select id, 'monitoring', $1, $1 from opened",
        NASTY,
    )
    await connection.execute(
        "insert into incident_templates (name, title, body, impact, components, changed_by)"
        " values ($1, $1, $1, 'minor', '{web}', $1)",
        NASTY,
    )
    return organization


def addresses(method: str, organization: Organization) -> list[str]:
    """Return every address of `/admin` that takes the method, as its route table has them."""
    found = []
    for route in ROUTES:
        identifier = str(organization.id) if "organizations" in route.path else "1"
        query = "?month=2026-01" if route.path.endswith("statement") else ""
        # These ask about one key, one price, one charge; tests of their own open them.
        if method == "GET" and route.path.endswith(("/revoke", "/release", "/refund")):
            continue
        if route.method == method and route.path.startswith("/admin"):
            found.append(route.path.replace("{id}", identifier) + query)
    assert found
    return found


async def send_without_token(site: Site, path: str, **form: str) -> aiohttp.ClientResponse:
    return await site.client.post(path, data=form, headers={"Accept": "text/html"}, allow_redirects=False)


async def test_only_administrators_enter(
    open_site: OpenSite, connection: asyncpg.Connection, debtor: Organization
) -> None:
    # Without what writes by itself every minute.
    site = await open_site(without=("builtin_billing", "alerting", "key_uses"))
    user = await web_site.add_api_key(connection, role="user")
    admin = await web_site.add_api_key(connection, role="admin")
    for path in addresses("GET", debtor):
        anonymous = await site.get(path)
        assert anonymous.status == 303
        assert anonymous.headers["Location"].startswith("/login?next=/admin")
        assert (await site.get(path, x_api_key=user)).status == 403
        assert (await site.get(path, x_api_key="sk_live_wrong")).status == 401
        answer = await site.get(path, x_api_key=admin, accept="text/html")
        assert answer.status == 200, (path, await answer.text())
        assert answer.headers["Cache-Control"] == "private, no-store"
        for refused in (anonymous, await site.get(path, x_api_key=user)):
            assert "public" not in refused.headers["Cache-Control"]
    before = await rows_of_all_tables(connection)
    for path in addresses("POST", debtor):
        assert (await send_without_token(site, path, reason="x")).status == 303
        async with site.client.post(path, data={"reason": "x"}, headers={"X-API-Key": user}) as answer:
            assert answer.status == 403
    after = await rows_of_all_tables(connection)
    # A visitor without a session gets one for the form of the sign-in page, and for nothing else.
    assert {name: rows for name, rows in after.items() if name != "web_sessions"} == {
        name: rows for name, rows in before.items() if name != "web_sessions"
    }


async def test_hours_unpaid_since_before_the_first_representable_date_are_shown(
    signed_in: Site, connection: asyncpg.Connection, debtor: Organization
) -> None:
    # By hand, past the guard that keeps marks.
    await connection.execute("set containerstacks.guard = 'off'")
    await connection.execute("update vps_instances set last_billed_at = '0044-03-15 BC'")
    for path in (*addresses("GET", debtor), "/status"):
        await signed_in.page(path)
    daemon = (await signed_in.json("/api/health/billing-daemon"))["daemon"]
    assert daemon["oldestUnpaidHour"] == "0001-01-02T00:00:00Z"
    async with signed_in.client.ws_connect("/ws/status?topics=details") as browser:
        assert (await browser.receive_json(timeout=LIMIT_SECONDS))["type"] == "details"


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
async def test_an_instance_with_an_infinite_date_leaves_the_pages_as_they_are(
    signed_in: Site, connection: asyncpg.Connection, debtor: Organization, moment: str
) -> None:
    instance = await fleet.add_instance(connection, debtor, "g6-nanode-1")
    await connection.execute(
        f"update vps_instances set created_at = '{moment}', last_billed_at = null where id = $1", instance
    )
    for path in (*addresses("GET", debtor), "/status"):
        await signed_in.page(path)
    assert "&lt;script&gt;" in await signed_in.page("/admin/debts")


async def test_a_session_ended_elsewhere_has_no_access(
    signed_in: Site, connection: asyncpg.Connection, debtor: Organization
) -> None:
    assert (await signed_in.get("/admin")).status == 200
    await connection.execute("delete from web_sessions")
    for path in addresses("GET", debtor):
        assert (await signed_in.get(path)).status == 303
    for path in addresses("POST", debtor):
        assert (await send_without_token(signed_in, path)).status == 303


async def test_after_signing_in_one_returns_to_the_page_that_asked_for_it(
    site: Site, connection: asyncpg.Connection
) -> None:
    await fleet.add_user(connection, email=EMAIL, role="admin")
    form = await site.page("/login?next=/admin/runs?outcome=failed")
    target = re.search(r'name="next" value="([^"]+)"', form)
    assert target is not None
    refused = await site.sign_in(EMAIL, "wrong", next=unescape(target[1]))
    assert 'name="next" value="/admin/runs?outcome=failed"' in await refused.text()
    answer = await site.sign_in(EMAIL, next=unescape(target[1]))
    assert answer.headers["Location"] == "/admin/runs?outcome=failed"


async def test_no_form_is_accepted_without_its_token(
    signed_in: Site, connection: asyncpg.Connection, debtor: Organization
) -> None:
    before = await rows_of_all_tables(connection)
    for path in addresses("POST", debtor):
        for form in ({}, {"csrf_token": "wrong"}):
            answer = await send_without_token(signed_in, path, reason="x", name="x", **form)
            assert answer.status == 403, path
    assert await rows_of_all_tables(connection) == before


async def test_a_name_is_text_on_every_page(signed_in: Site, debtor: Organization) -> None:
    await signed_in.send_form("/admin/keys", name=NASTY, scopes=["status"])
    await signed_in.send_form("/admin/billing/pause", reason=NASTY)
    seen = set()
    for path in addresses("GET", debtor):
        if "statement" not in path:
            text = await signed_in.page(path)
            assert NASTY not in text, path
            seen |= {path} if "&lt;script&gt;alert(1)" in text else set()
    assert seen >= {"/admin", "/admin/runs/1", "/admin/debts", "/admin/billing", "/admin/incidents"}
    assert seen >= {"/admin/incidents/1", "/admin/keys", f"/admin/organizations/{debtor.id}"}


async def test_billing_is_paused_once_and_resumed(signed_in: Site, connection: asyncpg.Connection) -> None:
    empty = await signed_in.send_form("/admin/billing/pause", reason="  ")
    assert (empty.status, "Required." in await empty.text()) == (422, True)
    assert (await signed_in.send_form("/admin/billing/pause", reason="prices")).status == 303
    again = await signed_in.send_form("/admin/billing/pause", reason="lunch")
    text = await again.text()
    assert (again.status, "already paused" in text, "prices" in text) == (409, True, True)
    assert (await control.read_control(connection)).reason == "prices"
    await signed_in.send_form("/admin/billing/resume", reason="all well")
    assert not (await control.read_control(connection)).paused


async def test_a_key_is_shown_once_and_revoked(signed_in: Site) -> None:
    wishes: list[dict[str, object]] = [
        {"name": ""},
        {"scopes": []},
        {"expires_on": "2020-01-01"},
        {"expires_on": "soon"},
    ]
    for wrong in wishes:
        form = {"name": "deploy", "scopes": ["admin"]} | wrong
        assert (await signed_in.send_form("/admin/keys", **form)).status == 422, wrong
    ends = f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%d}"
    answer = await signed_in.send_form("/admin/keys", name="deploy", scopes=["admin"], expires_on=ends)
    assert (answer.status, answer.headers["Location"]) == (303, "/admin/keys")
    following = await signed_in.get("/admin/keys", accept="text/html")
    found = re.search(r"sk_live_[0-9a-f]{64}", await following.text())
    assert found is not None
    assert following.headers["Cache-Control"] == "private, no-store"
    assert "Content-Encoding" not in following.headers
    listed = await signed_in.page("/admin/keys")
    assert found[0] not in listed
    assert (await signed_in.get("/admin", x_api_key=found[0])).status == 200
    key_id = re.search(r"/admin/keys/revoke\?key_id=([0-9a-f-]+)", listed)
    assert key_id is not None
    asked = await signed_in.page(key_id[0])
    assert "cannot be undone" in asked
    assert (await signed_in.get("/admin", x_api_key=found[0])).status == 200
    await signed_in.send_form("/admin/keys/revoke", key_id=key_id[1])
    assert (await signed_in.get("/admin", x_api_key=found[0])).status == 401
    assert "Key revoked." in await signed_in.page("/admin/keys")
    assert "Key revoked." not in await signed_in.page("/admin/keys")
    for unknown in ("x", "00000000-0000-0000-0000-000000000000"):
        assert (await signed_in.get(f"/admin/keys/revoke?key_id={unknown}")).status == 404


async def test_a_held_price_is_released_for_a_reason_at_the_price_that_was_shown(
    signed_in: Site, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection)
    plan = await fleet.add_plan(connection, base_price="598.60", markup_price="0")
    for _ in range(64):
        await fleet.add_instance(connection, organization, plan)
    await connection.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate_before, hourly_rate_max, hourly_rate)"
        " values ($1, 'too much', 0.0082, 0.082, 0.82)",
        plan.id,
    )
    path = "/admin/billing/release"
    asked = unescape(await signed_in.page(f"{path}?plan_id={plan.id}"))
    for text in (
        "at 0.82 USD per hour?",
        "0.0082 USD per hour (\N{MULTIPLICATION SIGN}100)",
        "about 52.48 USD per hour",
        '<dd class="facts__value"><bdi>64<',
    ):
        assert text in asked
    form = {"plan_id": str(plan.id), "hourly_rate": "0.82000000"}
    assert (await signed_in.send_form(path, **form)).status == 422
    changed = await signed_in.send_form(path, **(form | {"reason": "A new tariff", "hourly_rate": "0.5"}))
    assert (changed.status, "has changed" in await changed.text()) == (422, True)
    assert len(await read_held(connection)) == 1
    assert (await signed_in.send_form(path, reason="A new tariff", **form)).status == 303
    assert await read_held(connection) == []
    assert "Price released. 64 instances bill at the next run." in await signed_in.page("/admin/billing")
    again = await signed_in.send_form(path, reason="A new tariff", **form)
    assert (again.status, again.headers["Location"]) == (303, "/admin/billing")
    assert "no longer on hold" in await signed_in.page("/admin/billing")


async def test_a_negative_price_cannot_be_released(signed_in: Site, connection: asyncpg.Connection) -> None:
    plan = await fleet.add_plan(connection, base_price="-7.30", markup_price="0")
    assert len(await read_held(connection)) == 1
    assert f"release?plan_id={plan.id}" not in await signed_in.page("/admin/billing")
    assert (await signed_in.get(f"/admin/billing/release?plan_id={plan.id}")).status == 303


async def test_signing_out_of_all_devices_asks_first_and_confirms(signed_in: Site) -> None:
    asked = await signed_in.page("/logout/everywhere")
    assert 'action="/logout/everywhere"' in asked
    assert (await signed_in.get("/admin")).status == 200
    done = await signed_in.send_form("/logout/everywhere")
    assert (done.status, done.headers["Location"]) == (303, "/login?signed-out=everywhere")
    assert "You are signed out of all devices." in await signed_in.page(done.headers["Location"])
    assert (await signed_in.get("/admin")).status == 303


async def test_an_incident_is_opened_updated_and_closed(signed_in: Site) -> None:
    path = "/admin/incidents/new"
    refused = await signed_in.send_form(path, title="Slow disks", body="")
    text = await refused.text()
    assert refused.status == 422
    assert 'value="Slow disks"' in text
    assert "Required." in text
    assert "Choose at least one." in text
    opened = await signed_in.send_form(path, title="Slow disks", body="We look.", components=["vps", "web"])
    incident = opened.headers["Location"]
    silent = await signed_in.send_form(incident, form="update", status="investigating", body="")
    assert (silent.status, "Enter a message" in await silent.text()) == (422, True)
    await signed_in.send_form(incident, form="details", title="Slow disks in eu-west")
    await signed_in.send_form(incident, form="update", status="resolved", body="All well.")
    shown = await signed_in.page(incident)
    assert "Slow disks in eu-west" in shown
    assert "Resolved" in shown
    assert "All well." in shown


async def test_a_maintenance_is_planned_and_cancelled(signed_in: Site) -> None:
    begins = datetime.now(UTC) + timedelta(days=1)
    form = {"title": "New disks", "body": "Replaced.", "components": ["database"]}
    window = {
        "starts_at": f"{begins:%Y-%m-%dT%H:%M}",
        "ends_at": f"{begins + timedelta(hours=1):%Y-%m-%dT%H:%M}",
    }
    path = "/admin/incidents/maintenance"
    backwards = {"starts_at": window["ends_at"], "ends_at": window["starts_at"]}
    refused = await signed_in.send_form(path, **form, **backwards)
    assert (refused.status, "ends after it begins" in await refused.text()) == (422, True)
    planned = await signed_in.send_form(path, **form, **window)
    incident = planned.headers["Location"]
    await signed_in.send_form(incident, form="update", status="cancelled")
    assert "cancelled" in await signed_in.page(incident)


async def test_the_page_of_a_run_shows_who_went_into_debt_and_why(
    signed_in: Site, debtor: Organization
) -> None:
    text = unescape(await signed_in.page("/admin/runs/1"))
    assert "Insufficient balance" in text
    # Five hours at 0.01 were due, and two were paid.
    assert '>0.03<span class="table__filler" aria-hidden="true">000000</span><' in text
    assert str(debtor.id) in text
    assert "No runs" in await signed_in.page("/admin/runs?outcome=failed")
    for path, status in (("/admin/runs/9", 404), ("/admin/runs/x", 404), ("/admin/runs?outcome=x", 400)):
        assert (await signed_in.get(path)).status == status


async def test_a_statement_is_downloaded(signed_in: Site, debtor: Organization) -> None:
    path = f"/admin/organizations/{debtor.id}/statement"
    answer = await signed_in.get(f"{path}?month={datetime.now(UTC):%Y-%m}&format=csv")
    lines = list(csv.DictReader(io.StringIO(await answer.text())))
    assert [line["kind"] for line in lines].count("charge") == 2
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert (await signed_in.get(f"{path}?month=2026-13")).status == 400


async def test_an_organization_is_found_by_name_id_slug_or_address(
    signed_in: Site, connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection, slug="polar-press")
    other = await fleet.add_organization(connection)
    member = await fleet.add_user(connection, email="grace@example.com")
    await connection.execute(
        "update organizations set name = 'Polar 100% Press' where id = $1", organization.id
    )
    await connection.execute(
        "insert into organization_members (organization_id, user_id, role) values ($1, $2, 'member')",
        organization.id,
        member,
    )
    link = f'href="/admin/organizations/{organization.id}"'
    for typed in ("polar", "100%25", "POLAR-PRESS", str(organization.id), "grace@"):
        found = (
            (await signed_in.page(f"/admin/debts?find={typed}"))
            .split('aria-label="Found"')[1]
            .split("</ul>")[0]
        )
        assert link in found, typed
        assert str(other.id) not in found, typed
    for typed in ("nobody", "%25%25", "_olar", "%00", NASTY):
        shown = await signed_in.page(f"/admin/debts?find={typed}")
        assert "No organization matches" in shown
        assert NASTY not in shown
    statement = await signed_in.get(f"/admin/organizations/{organization.id}/statement?month=2026-03")
    assert 'filename="statement-polar-press-2026-03.csv"' in statement.headers["Content-Disposition"]


async def test_alerts_are_listed_open_ones_first(signed_in: Site, connection: asyncpg.Connection) -> None:
    await connection.execute(
        "insert into alerts (kind, summary, opened_at, resolved_at) values"
        " ('nobody_bills', $1, now(), null), ('price_held', 'A price', now(), now())",
        NASTY,
    )
    shown = await signed_in.page("/admin/alerts")
    assert shown.index("&lt;script&gt;") < shown.index("A price")
    assert "Open" in shown
    assert "Resolved" in shown
