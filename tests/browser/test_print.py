"""The status on paper: all of it, in black on white, and nothing that paper cannot do."""

import asyncpg
from playwright.async_api import expect

from support import fleet
from support.chromium import Chromium
from support.processes import Processes

CLIPPED = """
[...document.querySelectorAll("main .card")].filter((card) => card.scrollWidth > card.clientWidth + 1)
    .map((card) => card.id || card.className)
"""
# A4 between its margins, in CSS pixels.
PAPER = {"width": 718, "height": 1046}


async def test_the_status_can_be_printed(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await fleet.add_instance(connection)
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/status", color_scheme="dark")
    await expect(page.locator(".connection")).to_have_attribute("data-state", "live")
    await page.emulate_media(media="print")
    await page.set_viewport_size(PAPER)  # type: ignore[arg-type]
    for useless in (".site-nav", ".skip-link", ".theme-switch"):
        await expect(page.locator(useless)).to_be_hidden()
    for part in (".verdict__headline", ".freshness", ".legend", "#billing-heading", ".site-footer__notes"):
        await expect(page.locator(part)).to_be_visible()
    await expect(page.locator("h1")).to_have_css("color", "rgb(90, 95, 92)")
    await expect(page.locator(".card").first).to_have_css("background-color", "rgb(255, 255, 255)")
    assert await page.evaluate(CLIPPED) == []
    assert (await page.pdf(format="A4")).startswith(b"%PDF")


async def test_a_chosen_dark_theme_is_not_printed(
    database_url: str, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/about")
    await page.get_by_label("Dark").check(force=True)
    await page.emulate_media(media="print")
    await expect(page.locator(".glance__item").first).to_have_css("background-color", "rgb(255, 255, 255)")
