"""The whole platform with a demo fleet, and the levers that bring its pages into every state they know.

Web stands behind a proxy, and keeps its port: an open page meets what its visitors would meet when a process, the
database or the network in between dies, and when it comes back.
"""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from playwright.async_api import Page, async_playwright, expect

from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from support import chromium as browsers
from support import databases, fleet
from support.chromium import Chromium
from support.dark_proxy import DarkProxy, dark_proxy
from support.databases import DatabaseServer
from support.demo_past import add_past, add_past_runs
from support.processes import LOCALHOST, Processes, Service, free_port
from support.waiting import eventually

ADMIN = "ada@example.com"
INSTANCES = 480
WITHIN_MILLISECONDS = 90_000
# Several states are looked at from one address in a short time.
_UNLIMITED = {
    "RATE_LIMIT_PUBLIC": "100000/15 minutes",
    "RATE_LIMIT_ANONYMOUS": "100000/15 minutes",
    "RATE_LIMIT_ADMIN": "100000/15 minutes",
}


class Stage:
    """`url` leads through `proxy` to `web`; `database` is a session for what a test changes by hand."""

    def __init__(self, postgres: EmbeddedPostgres, processes: Processes, chromium: Chromium) -> None:
        self.postgres = postgres
        self.processes = processes
        self.chromium = chromium
        self.dsn = ""
        self.proxy: DarkProxy
        self.web: Service
        self.aggregator: Service
        self.daemon: Service
        self._web_port = free_port()
        self._server: DatabaseServer

    @property
    def url(self) -> str:
        return self.proxy.url

    async def set_up(self) -> None:
        self._server = DatabaseServer(self.postgres.start())
        self.dsn = self.new_database("stage")
        await self.run("demo", "seed", "--vps", str(INSTANCES))
        async with self.database() as connection:
            await fleet.add_user(connection, email=ADMIN, role="admin")
            await add_past(connection)
        await self.start_aggregator()
        # Before web, which would bill in its place.
        self.daemon = await self.processes.start_billing_daemon(self.dsn)
        await self.start_web()
        await self._daemon_has_billed()

    def new_database(self, purpose: str) -> str:
        """Make another migrated database on the same server."""
        dsn = self._server.create(purpose)
        migrate(dsn)
        return dsn

    @contextlib.asynccontextmanager
    async def database(self, dsn: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(dsn or self.dsn)
        try:
            yield connection
        finally:
            await connection.close()

    async def execute(self, statement: str, *values: object) -> None:
        async with self.database() as connection:
            await connection.execute(statement, *values)

    async def run(self, *arguments: str) -> str:
        """Run the `containerstacks` command, as an operator would, and return what it says."""
        return await self.processes.succeed("containerstacks", *arguments, database_url=self.dsn)

    # Processes ----------------------------------------------------------------------------------

    async def start_web(self) -> None:
        self.web = await self.processes.start_web(self.dsn, PORT=str(self._web_port), **_UNLIMITED)

    async def start_another_web(self, dsn: str | None = None, **environment: str) -> Service:
        """Start a web process of its own, not behind the proxy."""
        return await self.processes.start_web(dsn or self.dsn, **(_UNLIMITED | environment))

    async def start_aggregator(self) -> None:
        self.aggregator = await self.processes.start_stats_aggregator(self.dsn)

    async def start_daemon(self) -> None:
        self.daemon = await self.processes.start_billing_daemon(self.dsn)
        await self._daemon_has_billed()

    async def _daemon_has_billed(self) -> None:
        await self.billing_shows(lambda daemon: daemon["status"] == "running" and daemon["lastRunSuccess"])

    async def billing_shows(self, predicate: Any) -> None:
        """Wait until the API's document of billing satisfies the predicate."""

        async def is_shown() -> bool:
            document = await self.web.get_json("/api/health/billing-daemon")
            return bool(predicate(document["daemon"]))

        await eventually(is_shown)

    async def grow_older(self) -> None:
        """Wait until each component was measured and the money audited, and give billing a past as well."""

        async def is_measured() -> bool:
            document = await self.web.get_json("/api/status/components")
            return all(component["state"] == "operational" for component in document["components"])

        await eventually(is_measured, 120)
        async with self.database() as connection:
            await eventually(lambda: connection.fetchval("select exists(select from billing_audits)"), 120)
            await add_past_runs(connection)

        async def is_drawn() -> bool:
            page = await self.web.get_text("/status?range=90d")
            days = re.search(r'plot__shape--billed" d="([^"]*)"', page)
            return days is not None and days[1].count("M") > 1

        await eventually(is_drawn, 120)

    async def is_alive(self, service: Service) -> None:
        """Wait until it answers at all, ready or not."""

        async def answers() -> bool:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                return bool(await service.get_text("/healthz"))
            return False

        await eventually(answers)

    # Pages --------------------------------------------------------------------------------------

    async def open(self, path: str, *, at: str | None = None, live: bool = True, **context: Any) -> Page:
        """Open a page without any motion, on a clock that can be put forward; the status page until it is live."""
        page = await self.chromium.open(
            (at or self.url) + path, reduced_motion="reduce", own_clock=True, **context
        )
        if live and path == "/status":
            await expect_state(page, ".connection", "live")
        return page

    async def sign_in(self, *, at: str | None = None) -> Page:
        """Open the status page as an administrator."""
        page = await self.open("/login", at=at)
        await browsers.sign_in(page, ADMIN)
        await page.wait_for_url("**/status")
        return page


async def expect_state(page: Page, selector: str, state: str) -> None:
    await expect(page.locator(selector)).to_have_attribute("data-state", state, timeout=WITHIN_MILLISECONDS)


async def expect_headline(page: Page, text: str) -> None:
    headline = page.locator("[data-verdict-headline]")
    await expect(headline).to_have_text(text, timeout=WITHIN_MILLISECONDS)


async def put_forward(page: Page, seconds: float) -> None:
    """Let the page's own time pass, with all its timers, without waiting."""
    await page.clock.run_for(round(seconds * 1000))


@contextlib.asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    """Set the stage, and take everything down in the end."""
    async with contextlib.AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=browsers.EXECUTABLE, args=browsers.ARGUMENTS
        )
        stack.push_async_callback(browser.close)
        postgres = stack.enter_context(databases.embedded_postgres())
        processes = Processes(folder)
        stack.push_async_callback(processes.end_all)
        stage = Stage(postgres, processes, Chromium(browser))
        stage.proxy = await stack.enter_async_context(dark_proxy(f"http://{LOCALHOST}:{stage._web_port}"))
        await stage.set_up()
        yield stage
