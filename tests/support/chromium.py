"""Pages in a real Chromium, and what went wrong while they were open."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, Page, Request, expect

from support import fleet
from support.packages import find_program
from support.waiting import LIMIT_SECONDS

EXECUTABLE = find_program("chromium")
# Without a sandbox, since tests also run as root, and without the browser's own requests.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HEIGHT = 900
expect.set_options(timeout=LIMIT_SECONDS * 1000)
# What the page itself cannot tell afterwards: noted before anything of it runs.
_WATCH = """
    window.refused = [];
    addEventListener("securitypolicyviolation", (event) => window.refused.push(event.blockedURI));
    window.shifts = [];
    const elementOf = ({ node }) => (node instanceof Element ? node : node?.parentElement);
    new PerformanceObserver((list) => {
        const moved = list.getEntries().flatMap(({ sources }) => sources.map(elementOf));
        // A value may grow where it stands; nothing else may give way to it.
        const others = moved.filter((element) => !element?.closest("[data-value], [data-case]"));
        window.shifts.push(...others.map((element) => element?.outerHTML ?? "something removed"));
    }).observe({ type: "layout-shift", buffered: true });
"""


@dataclass
class Chromium:
    """One browser. `complaints` is what its console said, `addresses` is whom its pages asked."""

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)

    async def open(self, url: str, *, width: int = 1280, own_clock: bool = False, **context: Any) -> Page:
        """Open an address as a visitor of its own; `context` are the visitor's settings.

        With `own_clock` the page's time goes on as ever, until the test puts it forward. The installed clock hides what
        the browser measured, so that is given back: pages ask how they were loaded.
        """
        viewport = {"width": width, "height": HEIGHT}
        visitor = await self.browser.new_context(**({"viewport": viewport} | context))
        page = await visitor.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("request", self._note)
        await page.add_init_script(_WATCH)
        if own_clock:
            await page.add_init_script("window.measured = performance.getEntriesByType.bind(performance);")
            await page.clock.install()
            await page.add_init_script("performance.getEntriesByType = window.measured;")
        await page.goto(url)
        return page

    async def close_pages(self) -> None:
        for visitor in self.browser.contexts:
            await visitor.close()

    def _note(self, request: Request) -> None:
        self.addresses.add(request.url)


async def refused_by_policy(page: Page) -> list[str]:
    refused: list[str] = await page.evaluate("window.refused")
    return refused


async def sign_in(page: Page, email: str) -> None:
    """Fill in the form that the page shows, and send it by keyboard."""
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(fleet.PASSWORD)
    await page.keyboard.press("Enter")


async def assert_fits(page: Page, widths: Iterable[int], what: str = "") -> None:
    """Assert that the page does not scroll sideways at any of these widths."""
    for width in widths:
        await page.set_viewport_size({"width": width, "height": HEIGHT})
        wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, f"{what or page.url} at {width}"


async def layout_shifts(page: Page) -> list[str]:
    """Return the markup of what moved because something else changed."""
    shifts: list[str] = await page.evaluate("window.shifts")
    return shifts
