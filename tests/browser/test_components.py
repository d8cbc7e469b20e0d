"""Components and incidents on the open page: bars by keyboard, and what administrators tell, without a reload."""

import asyncpg
from playwright.async_api import Page, expect

from support import looks
from support.chromium import Chromium
from support.processes import Processes
from support.stage import put_forward

_DAY_BEFORE = """
insert into component_history (resolution_minutes, started_at, component, operational, down)
values (1440, date_trunc('day', clock_now(), 'UTC') - interval '1 day', 'vps', 1438, 2)
"""
# With what the page adds to its five minutes by chance.
REFRESH_SECONDS = 6 * 60


async def test_the_bars_are_one_tab_stop_with_arrow_keys_and_names(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await connection.execute(_DAY_BEFORE)
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/status")
    days = page.locator("#component-vps [data-day]")
    await expect(days).to_have_count(90)
    assert await page.locator("#component-vps [data-day][tabindex='0']").count() == 1
    await days.last.focus()
    await page.keyboard.press("ArrowLeft")
    focused = page.locator(":focus")
    assert "99.861% up, 2 minutes down" in str(await focused.get_attribute("aria-label"))
    await expect(page.locator("#component-vps .days__named")).to_contain_text("2 minutes down")
    await page.keyboard.press("Home")
    await expect(days.first).to_be_focused()
    await expect(days.first).to_have_attribute("data-day", "no_data")
    await page.set_viewport_size({"width": 320, "height": 900})
    assert await page.locator("#component-vps [data-day]:visible").count() == 30


async def test_the_bars_of_an_open_page_grow_with_the_days(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/status", own_clock=True)
    day = page.locator("#component-vps [data-day]").nth(-2)
    await expect(day).to_have_attribute("data-day", "no_data")
    await page.locator("#component-vps summary").click()
    # A section that somebody points at, or reads, stays as it is.
    await page.locator("h1").click()
    await refresh_after_a_bad_day(page, connection)
    await expect(day).to_have_attribute("data-day", "down")
    await expect(page.locator("#component-vps details")).to_have_attribute("open", "")
    await day.focus()
    await expect(page.locator("#component-vps .days__named")).to_contain_text("2 minutes down")


HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_a_page_that_nobody_saw_for_a_while_is_refreshed_when_somebody_does(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/status", own_clock=True)
    day = page.locator("#component-vps [data-day]").nth(-2)
    await page.evaluate(HIDE, arg=True)
    await refresh_after_a_bad_day(page, connection)
    await expect(day).to_have_attribute("data-day", "no_data")
    await page.evaluate(HIDE, arg=False)
    await expect(day).to_have_attribute("data-day", "down")


async def refresh_after_a_bad_day(page: Page, connection: asyncpg.Connection) -> None:
    """Record the day before, see that the page is live, and put its clock forward to its next refresh."""
    await connection.execute(_DAY_BEFORE)
    await looks.find_all_well(connection)
    await expect(page.locator("#component-vps .component__state")).to_have_attribute(
        "data-state", "operational"
    )
    await put_forward(page, REFRESH_SECONDS)


async def open_without_aggregator(database_url: str, processes: Processes, chromium: Chromium) -> Page:
    web = await processes.start_web(database_url)
    await processes.start_billing_daemon(database_url)
    return await chromium.open(f"{web.url}/status")


async def test_an_incident_appears_changes_the_verdict_and_closes_without_a_reload(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    page = await open_without_aggregator(database_url, processes, chromium)
    await expect(page.locator(".connection")).to_have_attribute("data-state", "live")
    await page.evaluate("window.loadedOnce = true")
    incident = await connection.fetchval(
        "insert into incidents (kind, title, impact, status, components) values"
        " ('incident', '<script>Slow disks', 'major', 'investigating', '{vps}') returning id"
    )
    shown = page.locator(f".incidents__list--current #incident-{incident}")
    await expect(shown).to_contain_text("<script>Slow disks", timeout=10_000)
    await expect(page.locator("#component-vps .component__state")).to_have_attribute("data-state", "down")
    await expect(page.locator("[data-announced]")).to_contain_text("Slow disks")
    await expect(page.locator("[data-verdict-headline]")).to_have_text("Major outage: <script>Slow disks")
    await connection.execute(
        "update incidents set status = 'resolved', closed_at = clock_now() where id = $1", incident
    )
    await expect(shown).to_have_count(0, timeout=10_000)
    await expect(page.locator(f"#incident-{incident}")).to_contain_text("Resolved")
    assert await page.evaluate("window.loadedOnce")


async def test_while_the_components_are_not_watched_the_page_is_not_green(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    page = await open_without_aggregator(database_url, processes, chromium)
    headline = page.locator("[data-verdict-headline]")
    await expect(headline).to_have_text("Monitoring is interrupted", timeout=10_000)
    await expect(page.locator(".verdict")).to_have_attribute("data-verdict", "attention")
    await looks.find_all_well(connection)
    await expect(headline).to_have_text("All systems operational", timeout=10_000)
