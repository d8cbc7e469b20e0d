"""What dies under an open page: it says so within ten seconds, keeps what it knew, and comes back without a reload.

The page's own clock is put forward instead of waiting; everything else is real.
"""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Final

import asyncpg
import pytest
from playwright.async_api import Page, expect

from support import fleet
from support.chromium import Chromium
from support.dark_proxy import DarkProxy, dark_proxy
from support.processes import LOCALHOST, Processes, Service, free_port
from support.stage import WITHIN_MILLISECONDS, expect_state, put_forward
from support.waiting import eventually

STALE_SECONDS: Final = 10
POLL_SECONDS: Final = 15
# From the page's own words: half a second, doubled up to ten, and of each at least a half.
PAUSES_MAX: Final = [0.5, 1, 2, 4, 8, 10, 10]
STEP_SECONDS: Final = 0.1

COLOUR: Final = "getComputedStyle(document.querySelector('.vps .figure')).color"
NOTE_ATTEMPTS: Final = """
    window.attempts = [];
    window.ended = 0;
    window.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given);
            window.attempts.push(Date.now());
            this.addEventListener("close", () => { window.ended += 1; });
        }
    };
"""


@pytest.fixture
def web_port() -> int:
    return free_port()


@pytest.fixture
async def proxy(web_port: int) -> AsyncIterator[DarkProxy]:
    async with dark_proxy(f"http://{LOCALHOST}:{web_port}") as proxy:
        yield proxy


@pytest.fixture
async def web(
    database_url: str, connection: asyncpg.Connection, processes: Processes, web_port: int
) -> Service:
    await fleet.add_instances(connection, *["running"] * 10)
    return await processes.start_web(database_url, PORT=str(web_port))


@pytest.fixture
async def page(web: Service, proxy: DarkProxy, chromium: Chromium) -> Page:
    assert web.running
    page = await chromium.open(f"{proxy.url}/status", own_clock=True, reduced_motion="reduce")
    await expect_state(page, ".connection", "live")
    await page.evaluate("window.loadedOnce = true")
    return page


async def expect_running(page: Page, amount: int) -> None:
    running = page.locator("[data-value='vps.byStatus.running'][data-format]").first
    await expect(running).to_have_text(str(amount), timeout=WITHIN_MILLISECONDS)


async def turns_stale(page: Page) -> None:
    """Let ten seconds pass: the last figures stay, greyed, with since when; nothing is called live."""
    lively = await page.evaluate(COLOUR)
    await put_forward(page, STALE_SECONDS)
    # The last message may still have been on its way to the page.
    await expect_state(page, "[data-status]", "stale")
    await expect(page.locator(".connection")).not_to_have_attribute("data-state", "live")
    await expect(page.locator(".freshness")).to_contain_text("Last known, from")
    await expect_running(page, 10)
    assert await page.evaluate(COLOUR) != lively


async def recovers(page: Page, amount: int) -> None:
    """Let the next attempt and the next poll come: live again, with what is true now, and never reloaded."""
    await put_forward(page, POLL_SECONDS)
    await expect_state(page, ".connection", "live")
    await expect_state(page, "[data-status]", "fresh")
    await expect_running(page, amount)
    assert await page.evaluate("window.loadedOnce")


async def stop_one(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "update vps_instances set status = 'stopped' where id = (select min(id::text)::uuid from vps_instances)"
    )


@pytest.mark.parametrize("what_happens", [DarkProxy.go_dark, DarkProxy.cut], ids=["dark", "cut"])
async def test_the_connection_dies(
    page: Page, proxy: DarkProxy, connection: asyncpg.Connection, what_happens: object
) -> None:
    assert callable(what_happens)
    what_happens(proxy)
    await turns_stale(page)
    await stop_one(connection)
    proxy.go_light()
    await recovers(page, 9)


async def test_the_web_process_is_killed(
    page: Page, web: Service, connection: asyncpg.Connection, processes: Processes, database_url: str
) -> None:
    await web.kill()
    await turns_stale(page)
    await expect_state(page, ".connection", "offline")
    await stop_one(connection)
    await processes.start_web(database_url, PORT=str(web.port))
    await recovers(page, 9)


async def test_the_aggregator_is_killed_and_the_page_stays_right(
    page: Page, connection: asyncpg.Connection, processes: Processes, database_url: str
) -> None:
    aggregator = await processes.start_stats_aggregator(database_url)
    await aggregator.kill()
    await stop_one(connection)
    await expect_running(page, 9)
    await expect_state(page, ".connection", "live")
    await expect_state(page, "[data-status]", "fresh")


async def test_attempts_to_reconnect_grow_rarer_and_come_by_chance(
    web: Service, proxy: DarkProxy, chromium: Chromium
) -> None:
    assert web.running
    page = await chromium.open(f"{proxy.url}/about", own_clock=True)
    await page.add_init_script(NOTE_ATTEMPTS)
    await page.goto(f"{proxy.url}/status")
    await expect_state(page, ".connection", "live")
    proxy.cut()
    await expect(page.locator(".connection")).not_to_have_attribute("data-state", "live")
    now: int = await page.evaluate("Date.now()")
    await page.clock.pause_at(now + 10_000)
    before: int = await page.evaluate("attempts.length")
    while await page.evaluate("attempts.length") < before + len(PAUSES_MAX):
        # An attempt takes the time of the machine, in which the page's own stands still.
        await eventually(lambda: page.evaluate("ended === attempts.length"))
        await put_forward(page, STEP_SECONDS)
    attempts: list[int] = await page.evaluate("attempts")
    # The first attempts passed in the page's own time; those after them show the pauses.
    pauses = [(later - earlier) / 1000 for earlier, later in pairwise(attempts[-4:])]
    assert all(PAUSES_MAX[-1] / 4 <= pause <= PAUSES_MAX[-1] + 2 for pause in pauses), pauses
    assert len(set(pauses)) > 1
