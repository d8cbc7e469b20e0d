"""The pages as the server renders them: complete, safe and honest without any script."""

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import asyncpg
import pytest

from containerstacks_shared.billing import control
from containerstacks_shared.billing.audit import audit
from containerstacks_web.live.admin_sockets import ADMIN_SOCKETS
from containerstacks_web.live.owed_figures import OwedFigures
from containerstacks_web.live.platform_statistics import LIFETIME, PLATFORM_STATISTICS
from support import fleet
from support.waiting import eventually
from support.web_site import OpenSite, Site, add_api_key

HTML = "text/html"
# As the note stands there when it is not hidden.
PAUSED = 'data-case="billingPaused" data-is="true">'
PAGES = ["/status", "/about", "/login", "/nothing-here"]


class Markup(HTMLParser):
    """What a test asks about a page: its text, and every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


async def page_of(site: Site, path: str, **headers: str) -> str:
    response = await site.get(path, accept=HTML, **headers)
    assert response.content_type == HTML
    return await response.text()


def shown(page: str, path: str) -> str:
    """Return what a page shows for a path of the status document."""
    found = re.search(rf'data-value="{re.escape(path)}"[^>]*>([^<]*)<', page)
    assert found is not None, f"{path} is not on the page"
    return unescape(found[1]).strip()


async def test_the_start_page_is_the_status(site: Site) -> None:
    response = await site.get("/")
    assert (response.status, response.headers["Location"]) == (302, "/status")


async def test_the_status_is_complete_without_a_script(site: Site, connection: asyncpg.Connection) -> None:
    await fleet.add_instances(connection, "running", "running", "offline", "error")

    async def counted() -> str:
        page = await page_of(site, "/status")
        assert shown(page, "vps.total") == "4"
        return page

    page = await eventually(counted)
    assert shown(page, "vps.byStatus.running") == "2"
    assert shown(page, "vps.byStatus.stopped") == "1"
    assert shown(page, "vps.byStatus.error") == "1"
    assert shown(page, "vps.resources.totalVCPUs") == "4"
    assert shown(page, "daemon.lastSuccessfulRun") == "Never"
    markup = Markup(page)
    widths = [tag["width"] for tag in markup.all("rect") if "data-bar-part" in tag]
    assert widths == ["50%", "25%", "0%", "0%", "25%", "0%"]
    assert [tag["data-verdict"] for tag in markup.all("section") if "data-verdict" in tag] == ["problem"]


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_holds_inline_code_or_asks_another_server(site: Site, path: str) -> None:
    page = await page_of(site, path)
    markup = Markup(page)
    assert markup.all("style") == []
    for tag, attributes in markup.tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "action"):
            target = attributes.get(name)
            assert target is None or target.startswith(("/", "#")), target
    assert all(script["src"] for script in markup.all("script"))


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_has_one_heading_landmarks_and_a_way_past_the_menu(site: Site, path: str) -> None:
    markup = Markup(await page_of(site, path))
    for landmark in ("h1", "main", "header", "footer", "nav", "title"):
        assert len(markup.all(landmark)) == 1, landmark
    assert markup.all("html")[0]["lang"] == "en"
    assert markup.all("a")[0]["href"] == f"#{markup.all('main')[0]['id']}"
    labels = {label.get("for") for label in markup.all("label")}
    ids = {field["id"] for field in markup.all("input") if field.get("type") in {"email", "password"}}
    assert ids <= labels
    assert [link["href"] for link in markup.all("a") if link.get("aria-current") == "page"] == [
        href for href in ("/status", "/about", "/login") if href == path
    ]


async def test_names_are_escaped(open_site: OpenSite, connection: asyncpg.Connection) -> None:
    nasty = "<script>alert(1)</script>"
    site = await open_site(company_name=f'{nasty}" onload="x')
    organization = await fleet.add_organization(connection)
    await connection.execute(
        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, status)"
        " values ($1, $2, '1', 'x', $2)",
        organization.id,
        nasty,
    )
    key = await add_api_key(connection, role="admin")
    for path in PAGES:
        page = await page_of(site, path, x_api_key=key)
        assert nasty not in page
        markup = Markup(page)
        assert nasty in markup.text
        assert not [tag for tag, attributes in markup.tags if "onload" in attributes]


async def test_money_and_details_are_for_administrators(site: Site, connection: asyncpg.Connection) -> None:
    await fleet.add_instance(connection, status="shutting_down")
    for role, sees in (("user", False), ("admin", True)):
        key = await add_api_key(connection, role=role)
        response = await site.get("/status", accept=HTML, x_api_key=key)
        page = await response.text()
        assert ("For administrators" in page, "USD" in page, "shutting_down" in page) == (sees, sees, sees)
        assert response.headers["Cache-Control"] == "private, no-store"
    page = await page_of(site, "/status")
    assert "For administrators" not in page
    assert "USD" not in page


async def test_administrators_see_a_pause_and_its_reason(site: Site, connection: asyncpg.Connection) -> None:
    await control.pause(connection, reason="Prices under review", author="ada@example.com")
    key = await add_api_key(connection, role="admin")
    text = Markup(await page_of(site, "/status", x_api_key=key)).text
    assert "Billing is paused" in text
    assert "Prices under review" in text
    assert "ada@example.com" in text


async def test_visitors_see_a_pause_without_its_reason(site: Site, connection: asyncpg.Connection) -> None:
    assert PAUSED not in await page_of(site, "/status")
    await control.pause(connection, reason="Prices under review", author="ada@example.com")

    async def paused() -> str:
        page = await page_of(site, "/status")
        assert PAUSED in page
        return page

    page = await eventually(paused)
    assert "Prices under review" not in page
    assert "ada@example.com" not in page
    await control.resume(connection, reason="Done", author="ada@example.com")

    async def goes_on() -> bool:
        return PAUSED not in await page_of(site, "/status")

    await eventually(goes_on)


async def test_administrators_see_what_is_owed_and_what_the_last_audit_found(
    site: Site, connection: asyncpg.Connection
) -> None:
    key = await add_api_key(connection, role="admin")
    assert "Not audited yet" in await page_of(site, "/status", x_api_key=key)
    await fleet.add_instance(connection, hours_due=7)
    await connection.execute("update wallets set balance = balance - 5")
    await audit(connection)
    # As half a minute later.
    site.app[ADMIN_SOCKETS].owed = OwedFigures(billing_interval=timedelta(hours=1))
    text = Markup(await page_of(site, "/status", x_api_key=key)).text
    assert "Hours owed7" in text
    assert "Audit findings1" in text
    assert "The audit has findings." in text
    assert "Audit findings" not in await page_of(site, "/status")


async def test_before_the_first_reading_the_status_says_so(open_site: OpenSite) -> None:
    site = await open_site(without=("feed", "builtin_billing"))
    response = await site.get("/status", accept=HTML)
    page = await response.text()
    assert response.status == 503
    assert "Status is not known yet" in page
    assert shown(page, "vps.total") == "\N{EN DASH}"


async def test_the_about_page_shows_seven_figures_and_when_they_were_counted(
    site: Site, connection: asyncpg.Connection
) -> None:
    await fleet.add_instance(connection)
    page = await page_of(site, "/about")
    markup = Markup(page)
    assert len(markup.all("dt")) == 7
    text = " ".join(markup.text.split())
    assert "organization 1 Teams" in text
    assert "registered user 1 People" in text
    assert "containers deployed 0 All" in text
    assert "Updated every 5 minutes, last at" in text
    counted_at = markup.all("time")[0]["datetime"]
    await fleet.add_user(connection)
    assert Markup(await page_of(site, "/about")).all("time")[0]["datetime"] == counted_at


async def test_while_the_database_is_away_the_about_page_keeps_the_last_figures_and_says_so(
    site: Site, connection: asyncpg.Connection
) -> None:
    await fleet.add_organization(connection)
    await page_of(site, "/about")
    cache = site.app[PLATFORM_STATISTICS]._public
    assert cache._last is not None
    cache._last = replace(cache._last, taken_at=cache._last.taken_at - LIFETIME)
    cache._retry_at = float("inf")
    response = await site.get("/about", accept=HTML)
    markup = Markup(await response.text())
    text = " ".join(markup.text.split())
    assert response.status == 200
    assert "Newer figures cannot be read right now. These are the last known, from" in text
    assert "organization 1 Teams" in text
    assert any("glance--stale" in str(tag.get("class")) for tag in markup.all("dl"))


async def test_without_any_figures_the_about_page_says_so(site: Site) -> None:
    site.app[PLATFORM_STATISTICS]._public._retry_at = float("inf")
    response = await site.get("/about", accept=HTML)
    assert response.status == 503
    assert "No figures yet" in await response.text()


async def test_a_valid_theme_cookie_is_applied(site: Site) -> None:
    for cookie, theme in (("dark", "dark"), ("light", "light"), ('"><script>', None)):
        page = await page_of(site, "/status", cookie=f"theme={cookie}")
        assert Markup(page).all("html")[0].get("data-theme") == theme
    assert Markup(await page_of(site, "/status")).all("html")[0].get("data-theme") is None


async def test_signed_in_users_can_sign_out_and_are_not_shown_the_sign_in_form(
    site: Site, connection: asyncpg.Connection
) -> None:
    await fleet.add_user(connection, email="ada@example.com", role="admin")
    await site.sign_in("ada@example.com")
    page = await page_of(site, "/status")
    assert "Sign out" in page
    assert "Sign in" not in page
    response = await site.get("/login")
    assert (response.status, response.headers["Location"]) == (302, "/status")


async def test_a_refused_sign_in_says_why_and_keeps_the_address(site: Site) -> None:
    response = await site.sign_in("ada@example.com", "wrong")
    markup = Markup(await response.text())
    fields = {field.get("name"): field for field in markup.all("input")}
    assert response.status == 401
    assert fields["email"]["value"] == "ada@example.com"
    assert "value" not in fields["password"]
    assert fields["password"]["aria-describedby"] == "login-problem"
    assert [tag["role"] for tag in markup.all("p") if tag.get("id") == "login-problem"] == ["alert"]
