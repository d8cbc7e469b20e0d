"""Money is moved in a real browser: reviewed, confirmed by a button that names the sum, and done."""

from typing import Any, Final

import asyncpg
import pytest
from playwright.async_api import Locator, Page, expect

from containerstacks_shared.fleet import permissions, users
from containerstacks_shared.fleet.users import UserId, UserRole
from support import accessibility, fleet
from support.billing import Billing
from support.chromium import Chromium, assert_fits, refused_by_policy, sign_in
from support.fleet import Organization
from support.processes import Processes, Service

EMAIL: Final = "bill@example.com"
LOOKS: Final[list[dict[str, Any]]] = [
    {"color_scheme": "light"},
    {"color_scheme": "dark"},
    {"color_scheme": "light", "forced_colors": "active"},
    {"media": "print", "color_scheme": "light"},
]


@pytest.fixture
async def debtor(connection: asyncpg.Connection, billing: Billing) -> Organization:
    """Paid for two hours, and owes three."""
    organization = await fleet.add_organization(connection, balance="0.02")
    await connection.execute("update organizations set name = 'Polar Press'")
    await fleet.add_instance(
        connection, organization, await fleet.add_plan(connection), label="web-1", hours_due=5
    )
    await billing.run()
    return organization


@pytest.fixture
async def web(
    database_url: str, connection: asyncpg.Connection, debtor: Organization, processes: Processes
) -> Service:
    user_id = await fleet.add_user(connection, email=EMAIL)
    user = await users.find_by_id(connection, UserId(user_id))
    assert user is not None
    await permissions.set_staff_role(connection, user, UserRole.BILLING, author="operator")
    await connection.execute(
        "insert into organization_members (organization_id, user_id, role) values ($1, $2, 'member')",
        debtor.id,
        user_id,
    )
    return await processes.start_web(database_url)


async def enter(chromium: Chromium, web: Service, path: str, **context: Any) -> Page:
    page = await chromium.open(web.url + path, **context)
    await sign_in(page, EMAIL)
    await page.wait_for_url(f"**{path}")
    return page


@pytest.mark.parametrize("with_scripts", [True, False])
async def test_a_credit_is_reviewed_and_confirmed(
    web: Service, debtor: Organization, chromium: Chromium, with_scripts: bool
) -> None:
    page = await enter(chromium, web, f"/admin/organizations/{debtor.id}", java_script_enabled=with_scripts)
    await page.get_by_role("link", name="Credit wallet").click()
    await page.get_by_label("Amount (USD)").fill("25.50")
    await page.get_by_label("Reference", exact=True).fill("invoice-4711")
    await page.get_by_role("button", name="Review").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Credit 25.50 USD to Polar Press?")
    await expect(page.get_by_text("Balance afterwards")).to_be_visible()
    await expect(page.locator("dd", has_text="25.50 USD").last).to_have_text("25.50 USD")
    await page.get_by_label("Reason").fill("Paid by wire")
    await page.get_by_role("button", name="Credit 25.50 USD").click()
    await expect(page.get_by_role("status").first).to_have_text(
        "Credited 25.50 USD. The balance is 25.50 USD."
    )
    # Back, and once more: the reference was used.
    await page.go_back()
    if with_scripts:
        await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("25.50 USD to Polar Press")


async def test_the_pages_of_money_can_be_used_by_everybody(
    web: Service, connection: asyncpg.Connection, debtor: Organization, chromium: Chromium
) -> None:
    page = await enter(chromium, web, "/account")
    cycle = await connection.fetchval("select id from vps_billing_cycles where status = 'billed'")
    instance = await connection.fetchval("select id from vps_instances")
    base = f"/admin/organizations/{debtor.id}"
    for path in (
        "/account",
        "/account/password",
        base,
        f"{base}/credit",
        f"{base}/credit?amount=x",
        f"{base}/credit?amount=25.5&reference=invoice-4711",
        f"{base}/refund?cycle_id={cycle}",
        f"{base}/write-off?instance_id={instance}",
        "/admin/incidents/templates",
    ):
        for look in LOOKS:
            await page.emulate_media(**{"media": "screen", "forced_colors": "none", **look})
            await page.goto(web.url + path)
            assert await accessibility.findings(page) == [], (path, look)
        await assert_fits(page, (320, 390, 820, 1440))
        assert await refused_by_policy(page) == []
    assert chromium.complaints == []


@pytest.mark.parametrize("touched", [True, False])
async def test_sums_and_ages_open_without_a_mouse_or_a_script(
    web: Service, connection: asyncpg.Connection, debtor: Organization, chromium: Chromium, touched: bool
) -> None:
    await fleet.add_instance(connection, debtor, await fleet.add_plan(connection, base_price="7.77"))
    page = await enter(chromium, web, "/account", width=390, has_touch=touched, java_script_enabled=False)
    row = page.locator(".facts__row", has_text="Next charge")
    await open_by(row.locator("details"), "Exactly 0.02379452 USD", touched=touched)
    boxes = [await row.locator(part).bounding_box() for part in ("dt", "dd")]
    tops = {box["y"] for box in boxes if box is not None}
    assert len(tops) == 1
    await page.goto(f"{web.url}/admin/organizations/{debtor.id}")
    cell = page.locator("[data-label='Open since']")
    await open_by(cell.locator("details"), " UTC", touched=touched)
    await assert_fits(page, [390])


async def open_by(details: Locator, text: str, *, touched: bool) -> None:
    whole = details.locator(".exact__whole")
    await expect(whole).to_be_hidden()
    summary = details.locator("summary")
    await (summary.tap() if touched else summary.press("Enter"))
    await expect(whole).to_be_visible()
    await expect(whole).to_contain_text(text)


async def test_paper_shows_the_moment_beside_the_age(
    web: Service, debtor: Organization, chromium: Chromium
) -> None:
    page = await enter(chromium, web, f"/admin/organizations/{debtor.id}")
    moment = page.locator("details.exact .exact__whole").first
    await expect(moment).to_be_hidden()
    await page.emulate_media(media="print")
    await expect(moment).to_be_visible()
