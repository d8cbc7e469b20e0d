"""The pages for administrators and for customers who are signed in, as scenes: see `page_scenes`."""

from collections.abc import AsyncGenerator
from typing import Final

from playwright.async_api import Page, expect

from support.scenes import Sight, scene
from support.stage import ADMIN, Stage

_ADMINISTRATION: Final = (
    (
        "admin",
        "Administration",
        "Conditions that need an administrator now, and the inner state of the platform.",
    ),
    ("admin/runs", "Billing runs", "Each run, and what became of it."),
    ("admin/debts", "Debts and runway", "Organizations with debts, and the hours that their money lasts."),
    ("admin/incidents", "Incidents", "What is open and planned, and how to say more."),
    ("admin/keys", "API keys", "Whose, for what, and when last used."),
    ("admin/billing", "Billing controls", "Whether billing is paused, and which prices are held."),
    ("admin/alerts", "Alerts", "Alerts sent to operators, open ones first."),
    ("admin/log", "Audit log", "Who did what, by page, API or command line."),
    ("admin/incidents/templates", "Incident templates", "What an incident begins with."),
)


@scene("An administrator looks at the pages that only administrators see.")
async def an_administrator_looks(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.sign_in()
    for path, title, tells in _ADMINISTRATION:
        await _visit(page, f"{stage.url}/{path}")
        yield Sight(path.replace("/", "-"), title, tells, page)
    heading = page.get_by_role("heading", level=1)
    await page.goto(f"{stage.url}/admin/runs")
    await page.locator("tbody a").first.click()
    await expect(heading).to_contain_text("Billing run ")
    tells = "Who could not pay in it, why, and what became of that."
    yield Sight("admin-run", "A billing run", tells, page)
    await page.goto(f"{stage.url}/admin/debts")
    await page.locator("tbody a").first.click()
    await expect(heading).not_to_have_text("Debts and runway")
    yield Sight("admin-organization", "An organization", "Its money, its instances, and its debts.", page)


@scene("An administrator credits, refunds and writes off, up to the question whether to.")
async def money_is_about_to_move(stage: Stage) -> AsyncGenerator[Sight, None]:
    page = await stage.sign_in()
    async with stage.database() as connection:
        debt = await connection.fetchrow(
            "select organization_id, vps_instance_id from vps_debts"
            " where settled_at is null and written_off_at is null order by id limit 1"
        )
        charge = await connection.fetchrow(
            "select c.id, i.organization_id from vps_billing_cycles as c"
            " join vps_instances as i on i.id = c.vps_instance_id"
            " where c.status = 'billed' order by c.id limit 1"
        )
    assert debt is not None
    assert charge is not None
    owing = f"{stage.url}/admin/organizations/{debt['organization_id']}"
    payer = f"{stage.url}/admin/organizations/{charge['organization_id']}"
    await _visit(page, f"{payer}/credit")
    yield Sight("admin-credit", "Credit a wallet", "How much, and what for.", page)
    await _visit(page, f"{payer}/credit?amount=25.50&reference=invoice-4711")
    yield Sight(
        "admin-credit-question", "Credit a wallet, confirmed", "What it will do to the balance.", page
    )
    await _visit(page, f"{payer}/refund?cycle_id={charge['id']}")
    yield Sight("admin-refund", "Refund a charge", "Which hours, and how much.", page)
    await _visit(page, f"{owing}/write-off?instance_id={debt['vps_instance_id']}")
    yield Sight("admin-write-off", "Write off what is owed", "Which hours will never be charged.", page)


@scene("A customer looks at what belongs to the organization, and changes the password.")
async def a_customer_looks(stage: Stage) -> AsyncGenerator[Sight, None]:
    await stage.execute(
        "insert into organization_members (organization_id, user_id, role)"
        " select d.organization_id, u.id, 'member' from users as u, vps_debts as d"
        " where u.email = $1 and d.settled_at is null and d.written_off_at is null"
        " order by d.id limit 1",
        ADMIN,
    )
    page = await stage.sign_in()
    await _visit(page, f"{stage.url}/account")
    # A rounded sum opens to the exact one, an age to the moment.
    for summary in await page.locator("details.exact summary:visible").all():
        await summary.press("Enter")
    yield Sight("account", "Your organizations", "Balance, runway, next charge, debts and instances.", page)
    await _visit(page, f"{stage.url}/account/password")
    yield Sight("account-password", "Change your password", "The old one, and the new one twice.", page)


async def _visit(page: Page, address: str) -> None:
    answer = await page.goto(address)
    assert answer is not None
    assert answer.ok, address
