"""The charts in a real browser: by pointer, by keyboard, by range, and without scripts."""

import asyncpg
import pytest
from playwright.async_api import Page, expect

from support import accessibility
from support.chromium import Chromium, refused_by_policy
from support.demo_past import add_past, add_past_runs
from support.processes import Processes, Service


@pytest.fixture
async def web(database_url: str, connection: asyncpg.Connection, processes: Processes) -> Service:
    await add_past(connection)
    await add_past_runs(connection)
    return await processes.start_web(database_url)


async def open_charts(chromium: Chromium, web: Service, query: str = "") -> Page:
    page = await chromium.open(f"{web.url}/status{query}")
    # Right after the start of the service the page has nothing to draw, and fetches what it lacks by itself.
    await expect(page.locator("[data-chart]")).to_have_count(2)
    return page


async def test_the_pointer_tells_what_the_table_says(chromium: Chromium, web: Service) -> None:
    page = await open_charts(chromium, web)
    chart = page.locator("[data-chart]").first
    await expect(chart.locator("tbody tr")).to_have_count(144)
    row = await chart.locator("tbody tr").nth(30).locator("th, td").all_text_contents()
    plot = chart.locator("[data-plot]").first
    await plot.scroll_into_view_if_needed()
    box = await plot.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * (143 - 30 + 0.5) / 144, box["y"] + 20)
    tip = chart.locator(".chart__tip")
    await expect(tip.locator(".chart__when")).to_have_text(f"{row[0]} UTC")
    assert await tip.locator("dd").all_text_contents() == row[1:]
    assert await tip.locator("dt").all_text_contents() == [
        "Total",
        "Running",
        "Stopped",
        "Provisioning",
        "Rebooting",
        "Error",
        "Other",
    ]
    await page.mouse.move(0, 0)
    await expect(tip).to_have_count(0)
    assert await refused_by_policy(page) == []
    assert chromium.complaints == []


async def test_the_keyboard_moves_a_cursor_that_says_where_it_is(chromium: Chromium, web: Service) -> None:
    page = await open_charts(chromium, web, "?range=90d")
    slider = page.get_by_role("slider", name="VPS by status, last 90 days")
    await slider.focus()
    tip = page.locator(".chart__tip")
    await expect(slider).to_have_attribute("aria-valuenow", "89")
    for key, now in (("ArrowLeft", "88"), ("PageDown", "78"), ("ArrowRight", "79"), ("End", "89")):
        await page.keyboard.press(key)
        await expect(slider).to_have_attribute("aria-valuenow", now)
    rows = page.locator("[data-chart]").first.locator("tbody tr")
    newest = await rows.first.locator("th, td").all_text_contents()
    await expect(slider).to_have_attribute(
        "aria-valuetext",
        f"{newest[0]} UTC: Total {newest[1]}, "
        + ", ".join(
            f"{name} {amount}"
            for name, amount in zip(
                ("Running", "Stopped", "Provisioning", "Rebooting", "Error", "Other"), newest[2:], strict=True
            )
        ),
    )
    await page.keyboard.press("Home")
    await expect(tip).to_contain_text("No data")
    await expect(slider).to_have_attribute(
        "aria-valuetext", f"{await rows.last.locator('th').text_content()} UTC: No data"
    )
    await page.keyboard.press("Escape")
    await expect(tip).to_have_count(0)
    await page.keyboard.press("ArrowRight")
    await expect(tip).to_have_count(1)
    assert await accessibility.findings(page) == []
    await slider.blur()
    await expect(tip).to_have_count(0)


async def test_a_cursor_in_one_picture_of_the_runs_stands_in_the_other_too(
    chromium: Chromium, web: Service
) -> None:
    page = await open_charts(chromium, web, "?range=7d")
    errors = page.get_by_role("slider", name="VPS by status, last 7 days")
    await errors.focus()
    await expect(errors.locator(".plot__cursor")).to_have_count(2)
    runs = page.get_by_role("slider", name="Billing runs, last 7 days")
    await runs.focus()
    # How long a run took is for administrators.
    await expect(runs.locator(".plot__cursor")).to_have_count(1)
    assert await page.get_by_text("Longest run").count() == 0
    said = str(await runs.get_attribute("aria-valuetext"))
    assert "Instances billed" in said
    assert "Failed" in said


async def test_another_range_comes_without_leaving_the_page(chromium: Chromium, web: Service) -> None:
    page = await open_charts(chromium, web)
    await page.evaluate("window.loadedOnce = true")
    await page.get_by_text("Show data: VPS by status").click()
    await page.get_by_role("link", name="30 days", exact=True).click()
    chosen = page.locator("[data-range][aria-current]")
    await expect(chosen).to_have_text("30 days")
    await expect(chosen).to_be_focused()
    await expect(page.locator("[data-chart]").first.locator("tbody tr")).to_have_count(120)
    await expect(page.locator(".chart__table").first).to_have_attribute("open", "")
    assert page.url == f"{web.url}/status?range=30d#history"
    assert await page.evaluate("window.loadedOnce")
    await page.get_by_role("slider", name="VPS by status, last 30 days").focus()
    await expect(page.locator(".chart__tip")).to_have_count(1)


async def test_without_scripts_ranges_are_links_and_tables_have_the_numbers(
    chromium: Chromium, web: Service
) -> None:
    # With scripts first: that page waits until there is something to draw.
    await open_charts(chromium, web)
    page = await chromium.open(f"{web.url}/status", java_script_enabled=False)
    await page.get_by_role("link", name="7 days", exact=True).click()
    await expect(page).to_have_url(f"{web.url}/status?range=7d#history")
    await expect(page.locator("[data-range][aria-current]")).to_have_text("7 days")
    await expect(page.get_by_role("img", name="VPS by status, last 7 days")).to_be_visible()
    assert await page.get_by_role("slider").count() == 0
    await page.get_by_text("Show data: Billing runs").click()
    rows = page.locator("[data-chart]").last.locator("tbody tr")
    await expect(rows).to_have_count(28)
    await expect(rows.first).to_be_visible()


async def test_incidents_are_bands_that_the_cursor_names(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await add_past(connection)
    title = "\N{RIGHT-TO-LEFT OVERRIDE}<b>Slow disks</b>"
    await connection.execute(
        "insert into incidents (kind, title, impact, status, components, created_at, started_at)"
        " values ('incident', $1, 'major', 'investigating', '{vps}', now(), now() - interval '2 hours')",
        title,
    )
    page = await open_charts(chromium, await processes.start_web(database_url))
    band = page.locator(".plot__band--major")
    section = page.locator(".history__incidents")
    await expect(section.get_by_role("link", name=title)).to_be_visible()
    slider = page.get_by_role("slider", name="VPS by status, last 24 hours")
    await slider.focus()
    await expect(page.locator(".chart__during")).to_have_text(title)
    assert title in str(await slider.get_attribute("aria-valuetext"))
    # The words stand at the other end, away from what is pointed at.
    tip, plot = await page.locator(".chart__tip").bounding_box(), await band.first.bounding_box()
    assert tip is not None
    assert plot is not None
    assert tip["x"] + tip["width"] < plot["x"]
    assert await accessibility.findings(page) == []
