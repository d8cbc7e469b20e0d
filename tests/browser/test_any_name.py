"""Names of 255 characters, with markup, emoji and marks that turn the writing round, on every page that shows any."""

import re
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from playwright.async_api import Page

import containerstacks_web
from containerstacks_web.routes import ROUTES
from support import accessibility, fleet
from support.billing import Billing
from support.chromium import Chromium, assert_fits, refused_by_policy, sign_in
from support.processes import Processes, Service

EMAIL: Final = "ada@example.com"
CUSTOMER: Final = "bob@example.com"
TURN: Final = "\N{RIGHT-TO-LEFT OVERRIDE}"
NAME: Final = (f"{TURN}<img src=x onerror=alert(1)>\N{PILE OF POO}<b>" + "W" * 255)[:255]
WIDTHS: Final = (320, 820, 1440)
PUBLIC: Final[tuple[str, ...]] = (
    "/status",
    "/status?range=7d",
    "/about",
    "/incidents",
    "/incidents/1",
    "/embed",
    "/login",
)
# What a customer sees of the organizations that are theirs.
CUSTOMERS: Final[tuple[str, ...]] = ("/account", "/account/password", "/logout/everywhere")
LOOKS: Final[list[dict[str, Any]]] = [
    {"media": "screen", "forced_colors": "active"},
    {"media": "print", "forced_colors": "none"},
    {"media": "screen", "forced_colors": "none"},
]
TEMPLATES: Final = Path(containerstacks_web.__file__).parent / "templates" / "admin"
# The marks turn round whatever stands in one line with them, unless the name is isolated from it.
UNISOLATED: Final = """
(mark) => {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        const parent = node.parentElement;
        // A paragraph of its own turns nothing else round.
        const isBlock = getComputedStyle(parent).display === "block";
        const alone = isBlock && parent.textContent.trim() === node.textContent.trim();
        if (node.textContent.includes(mark) && !alone && !parent.closest("bdi, h1, h2, option, textarea, pre")) {
            found.push(node.parentElement.outerHTML.slice(0, 200));
        }
    }
    return found;
}
"""
# What turns a page's own words round at its first line is no table's matter; headings stand alone.
FILL: Final = """
update organizations set name = $1;
update users set name = $1 where email <> 'ada@example.com';
update vps_plans set name = $1;
update vps_instances set label = $1;
update vps_instances set configuration = jsonb_set(configuration, '{region}', to_jsonb($1::text));
"""


@pytest.fixture
async def web(
    database_url: str, connection: asyncpg.Connection, billing: Billing, processes: Processes
) -> Service:
    """Each table has a row with the name in it."""
    await fleet.add_user(connection, email=EMAIL, role="admin")
    await fleet.add_user(connection, email=CUSTOMER)
    plan, other = await fleet.add_plan(connection), await fleet.add_plan(connection)
    for balance in ("0.02", "100.00"):
        organization = await fleet.add_organization(connection, balance=balance)
        await fleet.add_instance(connection, organization, plan, hours_due=5)
    await fleet.add_instance(connection, organization, other)
    for statement in FILL.strip().split(";\n"):
        await connection.execute(statement.rstrip(";"), NAME)
    await connection.execute(
        "insert into organization_members (organization_id, user_id, role)"
        " select o.id, u.id, 'member' from organizations as o, users as u where u.email = any($1)",
        [EMAIL, CUSTOMER],
    )
    await billing.run()
    short = NAME[:100]
    await connection.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate) values ($1, $2, 9)", other.id, NAME
    )
    await connection.execute(
        "with opened as (insert into incidents (kind, title, impact, status, components)"
        " values ('incident', $1, 'minor', 'monitoring', '{web}') returning id)"
        " insert into incident_updates (incident_id, status, body, author)"
        " select id, 'monitoring', $1, $1 from opened",
        short,
    )
    await connection.execute(
        "insert into incident_templates (name, title, body, impact, components, changed_by)"
        " values ($1, $1, $1, 'minor', '{web}', $1)",
        short,
    )
    await connection.execute(
        "insert into alerts (kind, summary, opened_at) values ('price_held', $1, now())", NAME
    )
    await connection.execute(
        "insert into user_api_keys (user_id, key_name, key_hash, key_prefix, permissions)"
        " select id, $1, 'x', 'sk_live_xxxx', '{\"scopes\": [\"status\"]}' from users where name = $1::varchar limit 1",
        NAME,
    )
    await connection.execute("select log_action($1, $1, $1, $1, jsonb_build_object('name', $1::text))", NAME)
    return await processes.start_web(database_url)


async def signed_in(chromium: Chromium, web: Service, email: str, path: str) -> Page:
    page = await chromium.open(f"{web.url}/login?next={path}")
    await sign_in(page, email)
    await page.wait_for_url(f"{web.url}{path}")
    return page


async def assert_it_stays_a_name(page: Page) -> None:
    """It turns nothing round, makes no page wider, and none of its markup comes to life."""
    assert await page.evaluate(UNISOLATED, TURN) == [], page.url
    await assert_fits(page, WIDTHS)
    assert await refused_by_policy(page) == [], page.url
    assert await page.locator("img[onerror]").count() == 0, page.url


async def test_any_name_stays_a_name_in_every_table(
    web: Service, connection: asyncpg.Connection, chromium: Chromium
) -> None:
    page = await signed_in(chromium, web, EMAIL, "/admin")
    ids = {
        "organizations": [str(row["id"]) for row in await connection.fetch("select id from organizations")],
        "incidents/templates": ["1"],
        "incidents": ["1"],
        "runs": ["1"],
    }
    seen = set()
    for route in ROUTES:
        # These ask about one key, price or charge, and have no table.
        if (
            route.method != "GET"
            or not route.path.startswith("/admin")
            or route.path.endswith(("/statement", "/revoke", "/release", "/refund"))
        ):
            continue
        noun = route.path.removeprefix("/admin/").partition("/{id}")[0]
        for identifier in ids[noun] if "{id}" in route.path else [""]:
            path = route.path.replace("{id}", identifier)
            await page.goto(f"{web.url}{path}")
            for table in await page.locator("table").all():
                region = await table.locator("xpath=..").get_attribute("aria-label")
                if await table.locator("td:not(.table__empty)").count():
                    seen.add(region)
            await assert_it_stays_a_name(page)
    # What no row was made for would be proved of nothing.
    templates = {
        match
        for template in TEMPLATES.glob("*.html")
        for match in re.findall(r'role="region" aria-label="([^"{]+), table"', template.read_text())
    }
    assert {f"{name}, table" for name in templates} - seen == set()
    assert chromium.complaints == []


@pytest.mark.parametrize("email", [None, CUSTOMER, EMAIL], ids=["visitor", "customer", "administrator"])
async def test_any_name_stays_a_name_on_the_pages_for_everybody(
    web: Service, chromium: Chromium, email: str | None
) -> None:
    if email is None:
        page = await chromium.open(f"{web.url}/status")
    else:
        page = await signed_in(chromium, web, email, "/account")
    paths = PUBLIC if email is None else PUBLIC + CUSTOMERS
    for path in paths:
        answer = await page.goto(f"{web.url}{path}")
        assert answer is not None
        assert answer.ok, path
        await assert_it_stays_a_name(page)
        for look in LOOKS:
            await page.emulate_media(**look)
            assert await accessibility.findings(page) == [], (path, look)
    assert chromium.complaints == []
