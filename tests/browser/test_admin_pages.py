"""Administrators in a real browser: by keyboard, without scripts, on a telephone."""

from typing import Any

import asyncpg
import pytest
from playwright.async_api import Locator, Page, expect

from containerstacks_shared.billing import control
from support import fleet, long_incident
from support.chromium import Chromium, assert_fits, refused_by_policy, sign_in
from support.processes import Processes, Service

EMAIL = "ada@example.com"
PAGES = [
    *("", "/runs", "/debts", "/billing", "/incidents", "/incidents/new", "/incidents/maintenance"),
    *("/incidents/templates", "/alerts", "/log", "/keys"),
]
WIDTHS = [320, 360, 390, 820, 1440]


@pytest.fixture
async def web(database_url: str, connection: asyncpg.Connection, processes: Processes) -> Service:
    await fleet.add_user(connection, email=EMAIL, role="admin")
    organization = await fleet.add_organization(connection, balance="0.02")
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection), hours_due=4)
    return await processes.start_web(database_url)


async def enter(chromium: Chromium, web: Service, path: str, heading: str, **context: Any) -> Page:
    """Ask for a page as a stranger, and sign in by keyboard: that leads to the page."""
    page = await chromium.open(web.url + path, **context)
    await expect(page.get_by_label("E-mail")).to_be_focused()
    await page.keyboard.type(EMAIL)
    await page.keyboard.press("Tab")
    await page.keyboard.type(fleet.PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    return page


async def test_every_page_keeps_its_policy_and_fits_every_width(
    web: Service, connection: asyncpg.Connection, chromium: Chromium
) -> None:
    incident = await long_incident.publish(connection)
    page = await enter(chromium, web, "/admin", "Administration")
    for path in (*PAGES, f"/incidents/{incident}"):
        await page.goto(f"{web.url}/admin{path}")
        assert await refused_by_policy(page) == []
        await assert_fits(page, WIDTHS)
    assert chromium.complaints == []
    assert {address for address in chromium.addresses if not address.startswith(web.url)} == set()


POINTS = """
[...document.querySelectorAll("tbody td:nth-of-type(3)")].map((cell) => {
    const range = document.createRange();
    const at = cell.firstChild.textContent.indexOf(".");
    range.setStart(cell.firstChild, at);
    range.setEnd(cell.firstChild, at + 1);
    return Math.round(range.getBoundingClientRect().x);
})
"""


async def test_what_stands_side_by_side_or_one_below_another_is_aligned(
    web: Service, connection: asyncpg.Connection, chromium: Chromium
) -> None:
    organization = await fleet.add_organization(connection)
    await fleet.add_instance(
        connection, organization, await fleet.add_plan(connection, base_price="3.65"), hours_due=3
    )
    page = await enter(chromium, web, "/admin/debts", "Debts and runway")
    points = await page.evaluate(POINTS)
    assert len(points) == 2
    assert len(set(points)) == 1
    await page.goto(f"{web.url}/admin/incidents")
    heights = await page.locator(".admin-actions .button").evaluate_all(
        "buttons => buttons.map((button) => button.offsetHeight)"
    )
    assert len(heights) == 3
    assert len(set(heights)) == 1


async def test_an_incident_is_opened_and_closed_by_keyboard(web: Service, chromium: Chromium) -> None:
    page = await enter(chromium, web, "/admin/incidents/new", "Open an incident")
    await page.get_by_label("Title").focus()
    await page.keyboard.type("Slow disks")
    await page.keyboard.press("Tab")
    await page.keyboard.type("We are looking into it.")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await page.get_by_label("Title").press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Slow disks")
    await page.get_by_label("Status").select_option("resolved")
    await page.get_by_label("Message").fill("All well again.")
    await page.get_by_role("button", name="Publish update").press("Enter")
    await expect(page.get_by_text("All well again.")).to_be_visible()
    await expect(page.locator(".admin-tag")).to_have_text("resolved")


async def test_a_key_is_made_copied_and_gone(web: Service, chromium: Chromium) -> None:
    page = await enter(chromium, web, "/admin/keys", "API keys")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_label("Name").fill("deploy")
    await page.get_by_label("Name").press("Enter")
    key = await page.get_by_label("The key").input_value()
    assert key.startswith("sk_live_")
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("status")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == key
    await page.reload()
    assert key not in await page.content()
    await expect(page.locator("tbody tr")).to_have_count(1)
    assert await refused_by_policy(page) == []
    # Whatever the width, what a row offers to do is in sight.
    for width in (390, 1024, 1440):
        await page.set_viewport_size({"width": width, "height": 900})
        revoke = page.get_by_role("link", name="Revoke deploy")
        await revoke.scroll_into_view_if_needed()
        assert await is_inside(revoke, page.locator(".table-scroll").last), width
    await revoke.click()
    await page.get_by_role("button", name="Revoke key").click()
    await expect(page.get_by_role("status").first).to_have_text("Key revoked.")


async def is_inside(element: Locator, frame: Locator) -> bool:
    inner, outer = await element.bounding_box(), await frame.bounding_box()
    assert inner is not None
    assert outer is not None
    return outer["x"] <= inner["x"] and inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1


async def test_what_was_typed_survives_a_session_that_ends(
    web: Service, connection: asyncpg.Connection, chromium: Chromium
) -> None:
    page = await enter(chromium, web, "/admin/incidents/new", "Open an incident")
    await page.get_by_label("Title").fill("Slow disks")
    await page.get_by_label("Message").fill("A long text that took ten minutes.")
    await page.get_by_label("Database").check()
    await connection.execute("delete from web_sessions")
    await page.get_by_role("button", name="Publish incident").click()
    await sign_in(page, EMAIL)
    await page.wait_for_url("**/admin/incidents/new")
    await expect(page.get_by_label("Message")).to_have_value("A long text that took ten minutes.")
    await expect(page.get_by_label("Database")).to_be_checked()
    await page.get_by_role("button", name="Publish incident").click()
    await expect(page.get_by_role("status").first).to_have_text("Incident published.")
    await page.goto(f"{web.url}/admin/incidents/new")
    await expect(page.get_by_label("Message")).to_have_value("")


async def test_a_template_is_taken_whatever_was_typed_before(
    web: Service, connection: asyncpg.Connection, chromium: Chromium
) -> None:
    await connection.execute(
        "insert into incident_templates (name, title, body, impact, components, changed_by)"
        " values ('Disks', 'Slow disks', 'We look.', 'major', '{vps}', 'ada')"
    )
    page = await enter(chromium, web, "/admin/incidents/new", "Open an incident")
    await page.get_by_label("Title").fill("Something is")
    await page.get_by_role("link", name="Disks").click()
    await page.wait_for_url("**/new?template=*")
    await expect(page.get_by_label("Message")).to_have_value("We look.")
    await expect(page.get_by_label("Title")).to_have_value("Slow disks")


async def test_the_forms_work_without_scripts(web: Service, chromium: Chromium) -> None:
    page = await enter(chromium, web, "/admin/billing", "Billing controls", java_script_enabled=False)
    await page.get_by_label("Reason").fill("Prices are wrong")
    await page.get_by_role("button", name="Pause billing").click()
    await expect(page.get_by_role("heading", name="Billing is paused")).to_be_visible()
    await page.get_by_label("Reason").fill("Corrected")
    await page.get_by_role("button", name="Resume billing").click()
    await expect(page.get_by_role("heading", name="Billing is active")).to_be_visible()
    await page.goto(f"{web.url}/admin/incidents/new")
    await page.get_by_label("Title").fill("Slow disks")
    await page.get_by_label("Message").fill("We look.")
    await page.get_by_role("button", name="Publish incident").click()
    await expect(page.get_by_role("alert")).to_have_text("Choose at least one.")
    await expect(page.get_by_label("Title")).to_have_value("Slow disks")


_BEGIN = """
insert into billing_runs (biller, trigger, holder, term, started_at, hours_billed)
values ('daemon', 'schedule', 'one', 1, clock_now(), 12) returning id
"""
_END = """
update billing_runs set status = 'succeeded', finished_at = clock_now(), hours_billed = 16 where id = $1
"""


async def open_a_run_that_goes_on(
    web: Service, connection: asyncpg.Connection, chromium: Chromium
) -> tuple[int, Page]:
    await control.pause(connection, reason="Nobody else bills", author="ada@example.com")
    run = await connection.fetchval(_BEGIN)
    return run, await enter(chromium, web, f"/admin/runs/{run}", f"Billing run {run}")


async def test_a_run_that_goes_on_is_followed_to_its_end_without_a_reload(
    web: Service, connection: asyncpg.Connection, chromium: Chromium
) -> None:
    run, page = await open_a_run_that_goes_on(web, connection, chromium)
    await page.evaluate("window.loadedOnce = true")
    bar = page.get_by_role("progressbar")
    await expect(bar).to_have_attribute("value", "12")
    await connection.execute("update billing_runs set hours_billed = 14 where id = $1", run)
    await expect(bar).to_have_attribute("value", "14", timeout=20_000)
    await connection.execute(_END, run)
    await expect(bar).to_have_count(0, timeout=20_000)
    await expect(page.locator(".admin-tag")).to_have_text("succeeded")
    assert await page.evaluate("window.loadedOnce")


async def test_a_run_is_followed_until_the_session_ends(
    web: Service, connection: asyncpg.Connection, chromium: Chromium
) -> None:
    run, page = await open_a_run_that_goes_on(web, connection, chromium)
    await connection.execute("delete from web_sessions")
    await page.wait_for_url(f"**/login?next=/admin/runs/{run}")
