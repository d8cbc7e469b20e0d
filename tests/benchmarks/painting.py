"""First contentful paint of the status page in Chromium, beside a static server that gives the same bytes.

Every load is a first visit: nothing is in the browser's cache, and what the service keeps ready has just grown too old,
so that it renders the page anew. Loads of both alternate after equal pauses, and take turns at going first, so that
whatever else the machine does hits both.
"""

import asyncio
import statistics
from urllib.parse import urlsplit

from playwright.async_api import Browser, async_playwright

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from benchmarks.surroundings import bare_server, copy_answer, fresh_database, real_services, size
from support import chromium
from support.databases import DatabaseServer
from support.processes import LOCALHOST, Service

_FLEET = size("BENCH_PAINT_INSTANCES", 100_000)
_LOADS = size("BENCH_PAINT_LOADS", 21)
_PAGE = "/status"
# A little longer than the service keeps a rendered page.
_RENDERED_AGAIN_SECONDS = 1.1
_PAINT = """
new Promise((resolve) => {
    new PerformanceObserver((list) => {
        const paint = list.getEntriesByName("first-contentful-paint")[0];
        if (paint) resolve(paint.startTime);
    }).observe({ type: "paint", buffered: true });
})
"""


async def measure(server: DatabaseServer) -> list[Result]:
    if chromium.EXECUTABLE is None:
        raise FileNotFoundError("painting needs Chromium (Debian: chromium)")
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, _FLEET)
        async with bare_server(dsn) as port, real_services(dsn) as web, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium.EXECUTABLE, args=chromium.ARGUMENTS
            )
            floor_url = f"http://{LOCALHOST}:{port}"
            for path in await _addresses(browser, web):
                await copy_answer(web.url + path, floor_url + path)
            paints: dict[str, list[float]] = {web.url: [], floor_url: []}
            turns = [*paints]
            for _ in range(_LOADS):
                for url in turns:
                    await asyncio.sleep(_RENDERED_AGAIN_SECONDS)
                    paints[url].append(await _first_paint(browser, url))
                turns.reverse()
            await browser.close()
    value, floor = (statistics.median(paints[url]) for url in (web.url, floor_url))
    name = f"first contentful paint of {_PAGE}, {_FLEET:,} VPS"
    return [Result(name, value, "ms", floor, value / floor, "ratio at most 1.1")]


async def _addresses(browser: Browser, web: Service) -> set[str]:
    """Load the page once, and return what it asked for: paths, without what sockets and scripts ask later."""
    page = await browser.new_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).path))
    await page.goto(web.url + _PAGE, wait_until="load")
    await page.close()
    return asked


async def _first_paint(browser: Browser, url: str) -> float:
    """Milliseconds from the start of the navigation, for a visitor who was never here."""
    visitor = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await visitor.new_page()
    await page.goto(url + _PAGE, wait_until="load")
    painted: float = await page.evaluate(_PAINT)
    await visitor.close()
    return painted
