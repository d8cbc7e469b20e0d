"""The pages in a real browser: nothing refused, nothing fetched from elsewhere, nothing that moves by itself."""

import asyncpg
import pytest
from playwright.async_api import Locator, Page, expect

from support import fleet, long_incident, looks
from support.chromium import Chromium, assert_fits, layout_shifts, refused_by_policy
from support.demo_past import add_past, add_past_runs
from support.processes import Processes, Service
from support.stage import expect_headline, expect_state
from support.waiting import eventually

PAGES = ["/status", "/about", "/login", "/api/docs"]
WEIGHT_MAX = 60 * 1024
RANGES = ["24 hours", "7 days", "30 days", "90 days"]
WIDTHS = [320, 360, 390, 820, 1280, 3840]


async def until_everything_is_read(web: Service) -> None:
    async def is_drawn() -> bool:
        page = await web.get_text("/status?range=7d")
        return "data-chart" in page and "data-days" in page

    await eventually(is_drawn)


async def test_no_page_breaks_its_policy_or_asks_another_server(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await fleet.add_instance(connection)
    web = await processes.start_web(database_url)
    for path in PAGES:
        page = await chromium.open(web.url + path)
        await page.wait_for_load_state("networkidle")
        assert await refused_by_policy(page) == []
    assert chromium.complaints == []
    assert {address for address in chromium.addresses if not address.startswith(web.url)} == set()


async def test_the_status_weighs_less_than_60_kilobytes(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await add_past(connection)
    await add_past_runs(connection)
    await fleet.add_instance(connection)
    web = await processes.start_web(database_url)
    await until_everything_is_read(web)
    page = await chromium.open("about:blank")
    session = await page.context.new_cdp_session(page)
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await session.send("Network.enable")
    await page.goto(f"{web.url}/status?range=7d")
    await page.wait_for_load_state("networkidle")
    assert len(sizes) > 10
    assert sum(sizes) < WEIGHT_MAX


async def test_every_page_fits_every_width(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await fleet.add_instance(connection)
    await long_incident.publish(connection)
    web = await processes.start_web(database_url, COMPANY_NAME="A Hosting Company With Quite A Long Name")
    await until_everything_is_read(web)
    for path in PAGES:
        page = await chromium.open(web.url + path)
        await assert_fits(page, WIDTHS)


@pytest.mark.parametrize("width", [320, 390, 430, 820])
async def test_resources_of_thousands_fit_beside_each_other_or_stand_below(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium, width: int
) -> None:
    organization, plan = await fleet.add_organization(connection), await fleet.add_plan(connection)
    await connection.execute(
        "update vps_plans set specifications = specifications || $1::text::jsonb where id = $2",
        '{"vcpus": 9999, "memory": 10238976, "disk": 102389760}',
        plan.id,
    )
    await fleet.add_instance(connection, organization, plan)
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/status", width=width)
    items = page.locator(".resources__item")
    await expect(items.nth(1)).to_contain_text("9,999 GB")
    assert [
        await item.evaluate("item => item.scrollWidth - item.clientWidth") for item in await items.all()
    ] == [0] * 3


@pytest.mark.parametrize("width", [320, 1280])
async def test_nothing_moves_when_values_change(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium, width: int
) -> None:
    await fleet.add_instance(connection)
    web = await processes.start_web(database_url)
    await processes.start_billing_daemon(database_url)
    await looks.find_all_well(connection)
    page = await chromium.open(f"{web.url}/status", width=width)
    await expect_headline(page, "All systems operational")
    await expect_state(page, ".connection", "live")
    total = page.locator("[data-value='vps.total'].figure")
    await page.evaluate("window.shifts.length = 0")
    organization = await fleet.add_organization(connection)
    plan = await fleet.add_plan(connection)
    for number in range(2, 13):
        await fleet.add_instance(
            connection, organization, plan, status="running" if number % 2 else "booting"
        )
        await expect(total).to_have_text(str(number))
    assert await layout_shifts(page) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_nothing_moves_when_the_figures_grow_old(
    database_url: str, processes: Processes, chromium: Chromium, width: int
) -> None:
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/about", width=width, own_clock=True)
    age = page.locator(".about__taken [data-format=relative]")
    for seconds in (1, 20, 160):
        shown = str(await age.text_content())
        await page.clock.fast_forward(seconds * 1000)
        await expect(age).not_to_have_text(shown)
    assert await layout_shifts(page) == []


async def test_the_theme_can_be_switched_and_is_remembered(
    database_url: str, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/about", color_scheme="light")
    light = await background(page)
    await page.get_by_label("Dark").check(force=True)
    dark = await background(page)
    assert dark != light
    await page.goto(f"{web.url}/status")
    assert await background(page) == dark
    await expect(page.get_by_label("Dark")).to_be_checked()

    await page.get_by_label("Auto").check(force=True)
    assert await background(page) == light
    await page.emulate_media(color_scheme="dark")
    assert await background(page) == dark
    await page.reload()
    assert await page.locator("html").get_attribute("data-theme") is None


async def background(page: Page) -> str:
    colour: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


async def test_the_pages_work_by_keyboard(
    database_url: str, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    await until_everything_is_read(web)
    page = await chromium.open(f"{web.url}/status")
    focused = page.locator(":focus")
    await page.keyboard.press("Tab")
    await expect(focused).to_have_text("Skip to content")
    await expect(focused).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(focused).to_have_text("Subscribe to updates")
    await page.keyboard.press("Tab")
    await expect(focused).to_have_text("How this status is decided")
    await page.keyboard.press("Enter")
    await expect(page.locator(".rule__list")).to_be_visible()
    for _ in range(5):
        await page.keyboard.press("Tab")
        await expect(focused).to_have_attribute("data-day", "no_data")
        await page.keyboard.press("Tab")
        await expect(focused).to_contain_text("Show data")
    for name in ("How states and uptime are decided", *RANGES):
        await page.keyboard.press("Tab")
        await expect(focused).to_have_text(name)
    for chart in ("VPS by status", "Billing runs"):
        await page.keyboard.press("Tab")
        await expect(focused).to_have_attribute("aria-label", f"{chart}, last 24 hours")
        await page.keyboard.press("Tab")
        await expect(focused).to_have_text(f"Show data: {chart}")
    for name in ("Incident history", "Atom feed", "Calendar", "Badge", "As JSON", "API", "VPS", "billing"):
        await page.keyboard.press("Tab")
        await expect(focused).to_have_text(name)
    await page.keyboard.press("Tab")
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_label("Light")).to_be_checked()
    assert await page.locator("html").get_attribute("data-theme") == "light"


async def test_an_administrator_signs_in_sees_the_money_and_signs_out(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await fleet.add_user(connection, email="ada@example.com", role="admin")
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/login")
    await expect(page.get_by_label("E-mail")).to_be_focused()
    await page.get_by_label("E-mail").fill("ada@example.com")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(page.get_by_label("Password")).to_be_focused()
    await page.get_by_label("Password").fill(fleet.PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/status")
    await expect(page.get_by_role("heading", name="For administrators")).to_be_visible()
    # The built-in biller may have had its first run meanwhile, which is a row of the table with the same amount.
    await expect(page.get_by_text("0.00 USD").first).to_be_visible()
    await page.locator(".account__name").click()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    await expect(page.get_by_role("heading", name="For administrators")).to_be_hidden()


async def test_with_reduced_motion_nothing_is_animated(
    database_url: str, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/status", reduced_motion="reduce")
    moving = await page.evaluate(
        """[...document.querySelectorAll("*")].filter((element) => {
            const { transitionDuration, transitionProperty, animationName } = getComputedStyle(element);
            return animationName !== "none" || (transitionProperty !== "none" && transitionDuration !== "0s");
        }).map((element) => element.outerHTML)"""
    )
    assert moving == []


async def test_times_stand_in_the_zone_of_the_visitor(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await connection.execute(
        "insert into incidents (kind, title, impact, status, components, created_at, closed_at) values"
        " ('incident', 'Slow', 'minor', 'resolved', '{vps}', '2026-01-31 23:30+00', '2026-02-01 00:30+00')"
    )
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/incidents/1", timezone_id="Asia/Kolkata")
    await expect(times_of(page)).to_have_text("1 Feb 2026, 05:00 GMT+5:30")
    await expect(times_of(page)).to_have_attribute("datetime", "2026-01-31T23:30:00+00:00")
    await expect(page.locator("[data-zone]")).to_contain_text("Times are in your zone, Asia/")
    page = await chromium.open(f"{web.url}/incidents/1", java_script_enabled=False)
    await expect(times_of(page)).to_have_text("31 Jan 2026, 23:30 UTC")


def times_of(page: Page) -> Locator:
    return page.locator("time[data-format='moment']").first
