"""The open status page: true within a moment, and honest when it cannot know."""

import json
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import asyncpg
import pytest
from playwright.async_api import Page, Route, WebSocketRoute, expect

from containerstacks_shared.billing import control
from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from support import fleet, looks, promises
from support.chromium import Chromium
from support.processes import Processes, Service
from support.stage import put_forward
from support.waiting import LIMIT_SECONDS, eventually

POLL_SECONDS = 15
DAY = timedelta(days=1)
# A page tries again after two seconds and more.
RECOVERED_SECONDS = 2 * promises.RECOVERED_SECONDS
# Every verdict that the page shows from here on, however short.
WATCH_VERDICTS = """
() => {
    const section = document.querySelector("[data-verdict]");
    globalThis.verdicts = [section.dataset.verdict];
    new MutationObserver(() => globalThis.verdicts.push(section.dataset.verdict))
        .observe(section, { attributeFilter: ["data-verdict"] });
}
"""


async def add_fleet(connection: asyncpg.Connection, size: int = 10) -> None:
    organization = await fleet.add_organization(connection)
    plan = await fleet.add_plan(connection)
    for _ in range(size):
        await fleet.add_instance(connection, organization, plan)


async def break_some(connection: asyncpg.Connection, amount: int) -> None:
    await connection.execute(
        "update vps_instances set status = 'error'"
        " where id in (select id from vps_instances where status = 'running' limit $1)",
        amount,
    )


async def publish_incident(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "insert into incidents (kind, title, impact, status, components) values"
        " ('incident', 'Slow disks', 'major', 'investigating', '{vps}')"
    )


async def open_live(chromium: Chromium, web: Service) -> Page:
    page = await chromium.open(f"{web.url}/status")
    await expect_connection(page, "live")
    return page


async def expect_value(page: Page, path: str, text: str) -> None:
    await expect(page.locator(f"[data-value='{path}'][data-format]").first).to_have_text(
        text, timeout=LIMIT_SECONDS * 1000
    )


async def expect_connection(page: Page, state: str, within: float = LIMIT_SECONDS) -> None:
    await expect(page.locator(".connection")).to_have_attribute("data-state", state, timeout=within * 1000)


async def expect_freshness(page: Page, state: str, within: float = LIMIT_SECONDS) -> None:
    await expect(page.locator("[data-status]")).to_have_attribute("data-state", state, timeout=within * 1000)


async def expect_headline(page: Page, text: str, within: float = LIMIT_SECONDS) -> None:
    await expect(page.locator("[data-verdict-headline]")).to_have_text(text, timeout=within * 1000)


_NOTE = """([selector, attribute]) => {
    const element = document.querySelector(selector);
    const noted = {};
    const said = () => (attribute ? element.getAttribute(attribute) : element.textContent.trim());
    new MutationObserver(() => { noted[said()] ??= Date.now() / 1000; })
        .observe(element, { attributes: true, childList: true, characterData: true, subtree: true });
    (window.noted ??= {})[selector] = noted;
}"""


async def noted(page: Page, selector: str, attribute: str = "") -> Callable[[], Awaitable[dict[str, float]]]:
    """Let the page note when an element first has each text; asking from here would be once a second."""
    await page.evaluate(_NOTE, [selector, attribute])

    async def texts() -> dict[str, float]:
        found: dict[str, float] = await page.evaluate("selector => noted[selector]", selector)
        return found

    return texts


@pytest.mark.main_path
async def test_a_changed_row_changes_the_page_without_a_reload(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await add_fleet(connection)
    web = await processes.start_web(database_url)
    await processes.start_stats_aggregator(database_url)
    await processes.start_billing_daemon(database_url)
    await looks.find_all_well(connection)
    page = await open_live(chromium, web)
    await expect_headline(page, "All systems operational")
    await expect_value(page, "vps.byStatus.running", "10")
    await page.evaluate("window.loadedOnce = true")

    error = "[data-value='vps.byStatus.error'][data-format]"
    shown = await noted(page, error)
    changed = time.time()
    await break_some(connection, 1)
    await expect_value(page, "vps.byStatus.error", "1")
    assert (await shown())["1"] - changed < promises.SHOWN_SECONDS
    await expect_value(page, "vps.byStatus.running", "9")
    part = page.locator("[data-bar-part='vps.byStatus.error']")
    assert [await part.get_attribute(name) for name in ("x", "width")] == ["90%", "10%"]
    await expect_headline(page, "Elevated VPS errors")
    await expect(page.locator(".verdict")).to_have_attribute("data-verdict", "attention")
    await expect(page.locator("[data-rules] > [aria-current] strong")).to_have_text("Elevated VPS errors")

    await break_some(connection, 9)
    await expect_headline(page, "Widespread VPS errors")
    await connection.execute("delete from vps_instances")
    await expect_value(page, "vps.total", "0")
    await expect(page.get_by_text("No VPS yet")).to_be_visible()
    await expect_headline(page, "All systems operational")
    assert await page.evaluate("window.loadedOnce")


async def test_the_billing_card_follows_the_daemon(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await fleet.add_instance(connection, hours_due=2)
    web = await processes.start_web(database_url)
    page = await open_live(chromium, web)
    state = page.locator("[data-case='daemon.status']:visible")
    await expect(state).to_have_text("Daemon never started")

    daemon = await processes.start_billing_daemon(database_url)
    await expect(state).to_have_text("Daemon running", timeout=10_000)
    biller = page.locator("[data-case='daemon.activeBiller']:visible")
    await expect(biller).to_have_text("Billing daemon")
    await expect_value(page, "daemon.instancesBilled", "1")
    await expect(page.locator("[data-case='daemonOverdue']")).to_be_hidden()

    await page.evaluate(WATCH_VERDICTS)
    assert await daemon.terminate() == 0
    await expect(state).to_have_text("Daemon stopped", timeout=10_000)
    await expect(page.get_by_text("switching over", exact=True)).to_be_visible()
    await expect(biller).to_have_text("Built-in biller", timeout=15_000)
    await expect(page.get_by_text("switching over", exact=True)).to_be_hidden()
    # A biller that follows another is no outage.
    assert "problem" not in await page.evaluate("verdicts")


async def test_a_feed_that_dies_is_noticed_within_ten_seconds_and_one_that_returns_at_once(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await add_fleet(connection)
    web = await processes.start_web(database_url)
    page = await open_live(chromium, web)
    await expect_value(page, "vps.total", "10")
    colour = "getComputedStyle(document.querySelector('.vps .figure')).color"
    lively = await page.evaluate(colour)

    # Stopped, not killed: the connection stays open and nothing comes any more.
    freshness = await noted(page, "[data-status]", "data-state")
    stopped = time.time()
    web.signal(signal.SIGSTOP)
    await expect_freshness(page, "stale")
    assert (await freshness())["stale"] - stopped < promises.STALE_SECONDS
    await expect_headline(page, "Status is delayed")
    await expect(page.locator(".freshness")).to_contain_text("Last known, from")
    await expect_value(page, "vps.total", "10")
    await page.wait_for_function(f"{colour} !== '{lively}'")
    await expect_connection(page, "offline")

    web.signal(signal.SIGCONT)
    await expect_freshness(page, "fresh", within=RECOVERED_SECONDS)
    await expect_connection(page, "live", within=RECOVERED_SECONDS)
    await break_some(connection, 2)
    await expect_value(page, "vps.byStatus.error", "2")


async def refuse(socket: WebSocketRoute) -> None:
    await socket.close()


async def test_where_sockets_do_not_work_the_page_polls(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await add_fleet(connection)
    web = await processes.start_web(database_url)
    page = await chromium.open("about:blank")
    await page.route_web_socket("**/ws/status?*", refuse)
    await page.goto(f"{web.url}/status")
    await expect_connection(page, "polling")
    await break_some(connection, 3)
    await publish_incident(connection)
    await expect_value(page, "vps.byStatus.error", "3")
    await expect(page.locator(".incidents__list--current")).to_contain_text("Slow disks")
    await expect(page.locator("#component-vps .component__state")).to_have_attribute("data-state", "down")
    await expect_freshness(page, "fresh")

    await page.unroute_all()
    await page.route_web_socket("**/ws/status?*", lambda socket: socket.connect_to_server())
    await expect_connection(page, "live")


async def test_polling_leaves_an_incident_that_is_the_same_as_the_visitor_left_it(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await add_fleet(connection)
    await publish_incident(connection)
    await connection.execute(
        "insert into incident_updates (incident_id, status, body, author)"
        " select id, 'investigating', body, 'ada' from incidents, unnest('{Slow.,Still slow.}'::text[]) as body"
    )
    web = await processes.start_web(database_url)
    # Times of its zone are not those that the server renders.
    page = await chromium.open("about:blank", own_clock=True, timezone_id="Asia/Kolkata")
    await page.route_web_socket("**/ws/status?*", refuse)
    await page.goto(f"{web.url}/status")
    await expect_connection(page, "polling")
    await page.get_by_text("Earlier updates").click()
    await page.evaluate(NOTE_SPOKEN)
    await break_some(connection, 3)
    await put_forward(page, POLL_SECONDS)
    await expect_value(page, "vps.byStatus.error", "3")
    await expect(page.get_by_text("Slow.", exact=True)).to_be_visible()
    spoken = await page.evaluate("spoken")
    assert not any("Incidents" in text for text in spoken), spoken


async def test_a_cached_page_of_before_an_incident_does_not_hide_it(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    before = await web.get_text("/status")
    page = await chromium.open(f"{web.url}/status", own_clock=True)
    await expect_connection(page, "live")
    incident = page.locator(".incidents__list--current")
    served = 0

    async def serve_the_page_of_before(route: Route) -> None:
        nonlocal served
        served += 1
        await route.fulfill(body=before, content_type="text/html", headers={"Date": formatdate(usegmt=True)})

    await page.route("**/status", serve_the_page_of_before)
    await publish_incident(connection)
    # The first answer is a cache's; then the cache has the present page.
    await eventually(lambda: served > 0)
    await page.unroute("**/status")
    await expect(incident).to_contain_text("Slow disks")

    # The figures of the page of before are older, too.
    await add_fleet(connection, 1)
    await expect_value(page, "vps.total", "1")
    await page.route("**/status", serve_the_page_of_before)
    served = 0
    await web.kill()
    await put_forward(page, POLL_SECONDS)
    await eventually(lambda: served > 0)
    await expect_connection(page, "polling")
    await expect(incident).to_contain_text("Slow disks")
    await expect(page.locator("[data-announced]")).not_to_contain_text("resolved")


async def test_a_server_without_its_database_does_not_take_the_page_back(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await add_fleet(connection)
    await publish_incident(connection)
    web = await processes.start_web(database_url)
    vps = (await web.get_json("/api/health/stats"))["vps"]
    daemon = (await web.get_json("/api/health/billing-daemon"))["daemon"]
    then = {"version": 10**9, "timestamp": (datetime.now(UTC) - DAY).isoformat()}
    board = {"overall": "operational", "components": [], "incidents": [], "billingPaused": False}
    greetings = 0

    async def greet(socket: WebSocketRoute) -> None:
        nonlocal greetings
        greetings += 1
        socket.send(json.dumps({"type": "incidents", **then, **board}))
        socket.send(json.dumps({"type": "status", **then, "vps": vps | {"total": 99}, "daemon": daemon}))

    page = await chromium.open("about:blank")
    await page.route_web_socket("**/ws/status?*", greet)
    watched = [["[data-verdict-headline]", ""], ["[data-value='vps.total'][data-format]", ""]]
    await page.add_init_script(
        f"addEventListener('DOMContentLoaded', () => {json.dumps(watched)}.forEach({_NOTE}))"
    )
    await page.goto(f"{web.url}/status")
    await expect_connection(page, "polling")
    # The page has asked elsewhere, and tries the socket again.
    await eventually(lambda: greetings > 1)
    headlines, totals = [await page.evaluate("selector => noted[selector]", each) for each, _ in watched]
    assert set(headlines) <= {"Status is delayed", "Major outage: Slow disks"}
    assert set(totals) <= {"10"}


async def test_a_page_from_the_browsers_own_cache_says_how_old_it_is(
    database_url: str, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    page = await chromium.open(f"{web.url}/status", own_clock=True)
    await expect_connection(page, "live")
    await page.goto("about:blank")
    await web.kill()
    await page.clock.fast_forward(round(DAY.total_seconds()) * 1000)
    await page.go_back()
    await expect_freshness(page, "stale")
    await expect(page.locator(".freshness__age")).to_have_text("24 hours ago")


async def test_without_a_database_the_page_keeps_the_last_figures_and_says_how_old_they_are(
    own_postgres: EmbeddedPostgres, processes: Processes, chromium: Chromium
) -> None:
    dsn = own_postgres.dsn()
    migrate(dsn)
    connection = await asyncpg.connect(dsn)
    await add_fleet(connection)
    await connection.close()
    web = await processes.start_web(dsn)
    page = await open_live(chromium, web)
    await expect_value(page, "vps.total", "10")

    freshness = await noted(page, "[data-status]", "data-state")
    stopped = time.time()
    own_postgres.stop("immediate")
    await expect_freshness(page, "stale")
    assert (await freshness())["stale"] - stopped < promises.STALE_SECONDS
    await expect_value(page, "vps.total", "10")
    # The server answers all the time, and its answers do not make the old figures any younger.
    await expect_connection(page, "polling")
    await expect_freshness(page, "stale", within=0)
    database = page.locator("#component-database .component__state")
    await expect(database).to_have_attribute("data-state", "down")

    without_scripts = await chromium.open(f"{web.url}/status", java_script_enabled=False)
    await expect_freshness(without_scripts, "stale")
    await expect_headline(without_scripts, "Status is delayed")
    await expect_value(without_scripts, "vps.total", "10")

    own_postgres.start()
    await expect_freshness(page, "fresh", within=RECOVERED_SECONDS)
    await expect_connection(page, "live", within=RECOVERED_SECONDS)
    await expect(database).not_to_have_attribute("data-state", "down")


async def test_the_age_of_the_figures_counts_by_itself(
    database_url: str, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    page = await open_live(chromium, web)
    ages = await noted(page, ".freshness__age")
    web.signal(signal.SIGSTOP)

    async def counted() -> bool:
        return {f"{seconds} seconds ago" for seconds in (3, 4, 5)} <= (await ages()).keys()

    await eventually(counted)
    web.signal(signal.SIGCONT)


NOTE_SPOKEN = """
window.spoken = [];
for (const region of document.querySelectorAll("[aria-live], [role=status], [role=alert], output")) {
    new MutationObserver(() => window.spoken.push(region.textContent))
        .observe(region, { childList: true, characterData: true, subtree: true });
}
"""


async def test_a_new_verdict_is_spoken_once_and_ticking_figures_and_ages_are_not(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    await add_fleet(connection, 40)
    web = await processes.start_web(database_url)
    await processes.start_billing_daemon(database_url)
    await looks.find_all_well(connection)
    page = await open_live(chromium, web)
    await expect_headline(page, "All systems operational")
    await page.evaluate(NOTE_SPOKEN)
    age = await page.locator(".freshness__age").text_content()
    await break_some(connection, 1)
    await expect_value(page, "vps.byStatus.error", "1")
    await expect(page.locator(".freshness__age")).not_to_have_text(str(age), timeout=10_000)
    assert await page.evaluate("spoken") == []
    await break_some(connection, 1)
    await expect_headline(page, "Elevated VPS errors")
    await break_some(connection, 1)
    await expect_value(page, "vps.byStatus.error", "3")
    assert await page.evaluate("spoken") == ["Elevated VPS errors"]


async def test_a_pause_is_on_the_open_page_at_once_and_gone_when_billing_goes_on(
    database_url: str, connection: asyncpg.Connection, processes: Processes, chromium: Chromium
) -> None:
    web = await processes.start_web(database_url)
    await processes.start_billing_daemon(database_url)
    await looks.find_all_well(connection)
    page = await open_live(chromium, web)
    await expect_headline(page, "All systems operational")
    await control.pause(connection, reason="Prices under review", author="ada@example.com")
    await expect_headline(page, "Billing is paused")
    await expect(page.locator(".billing__paused")).to_be_visible()
    await control.resume(connection, reason="Done", author="ada@example.com")
    await expect_headline(page, "All systems operational")
    await expect(page.locator(".billing__paused")).to_be_hidden()
