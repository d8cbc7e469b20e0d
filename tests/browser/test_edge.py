"""nginx as an edge, with the settings that are shipped: it carries a crowd, and outlives the platform."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Locator, Page, expect

from benchmarks.edge import answered
from containerstacks_web.http.headers import PUBLIC_CACHING
from support import fleet
from support.balancers import Balancer, edge
from support.chromium import Chromium
from support.packages import needs
from support.processes import LOCALHOST, Processes, Service, free_port
from support.stage import expect_state, put_forward
from support.waiting import eventually

pytestmark = needs("nginx-light")

VISITORS: Final = 20
VIEWS_EACH: Final = 100
STALE_SECONDS: Final = 10
POLL_SECONDS: Final = 15
PATHS: Final = (
    "/status",
    "/about",
    "/incidents",
    "/embed",
    "/api/health/stats",
    "/api/v2/summary.json",
    "/status/feed.atom",
    "/status/maintenance.ics",
    "/badge/status.svg",
)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def origin(
    database_url: str, connection: asyncpg.Connection, processes: Processes, port: int
) -> Service:
    await fleet.add_instance(connection)
    return await _start(processes, database_url, port)


async def _start(processes: Processes, database_url: str, port: int) -> Service:
    return await processes.start_web(
        database_url,
        PORT=str(port),
        TRUSTED_PROXIES=LOCALHOST,
        RATE_LIMIT_ANONYMOUS="100000/15 minutes",
        RATE_LIMIT_PUBLIC="100000/minute",
    )


@pytest.fixture
async def platform(tmp_path: Path, origin: Service) -> AsyncIterator[Balancer]:
    folder = tmp_path / "edge"
    folder.mkdir()
    async with edge(folder, origin.port) as balancer:
        yield balancer


async def test_a_crowd_costs_the_origin_one_request_a_second(platform: Balancer, origin: Service) -> None:
    asked_before = await answered(origin)
    began = time.monotonic()

    async def view(client: aiohttp.ClientSession) -> None:
        for _ in range(VIEWS_EACH):
            async with client.get("/status") as answer:
                assert answer.status == 200
                assert len(await answer.read()) > 0

    connector = aiohttp.TCPConnector(ssl=platform.tls, limit=VISITORS)
    async with aiohttp.ClientSession(platform.url, connector=connector) as client:
        await asyncio.gather(*(view(client) for _ in range(VISITORS)))
    seconds = time.monotonic() - began
    # One more for the second in which it began, and one for asking how many there were.
    assert await answered(origin) - asked_before <= seconds + 2


async def test_what_is_for_one_visitor_only_is_never_kept(platform: Balancer) -> None:
    async with platform.visitor() as client:
        for _ in range(2):
            async with client.get(
                "/api/health/stats", headers={"Cookie": "containerstacks_session=none"}
            ) as answer:
                assert answer.headers["X-Cache"] != "HIT"
            async with client.get("/login") as answer:
                assert answer.headers["X-Cache"] != "HIT"


async def test_every_public_address_outlives_the_origin(platform: Balancer, origin: Service) -> None:
    async with platform.visitor() as client:
        for path in PATHS:
            async with client.get(path) as answer:
                assert answer.status == 200, path
                assert "RateLimit" not in answer.headers
        await origin.kill()
        for path in PATHS:
            # What was kept a moment ago is fresh for its second.
            await eventually(partial(_is_served_stale, client, path))
        async with client.get("/api/incidents") as answer:
            assert answer.status == 502


async def _is_served_stale(client: aiohttp.ClientSession, path: str) -> bool:
    async with client.get(path) as answer:
        assert answer.status == 200, path
        return answer.headers["X-Cache"] == "STALE"


async def test_stale_pages_end_when_the_origin_has_said(tmp_path: Path) -> None:
    """The origin says a day. Here one says ten seconds, in the same words."""
    day = f"stale-if-error={24 * 60 * 60}"
    assert day in PUBLIC_CACHING

    async def page(_request: web.Request) -> web.Response:
        answer = web.Response(headers={"Cache-Control": PUBLIC_CACHING.replace(day, "stale-if-error=10")})
        # A connection that is kept would keep the origin from going.
        answer.force_close()
        return answer

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    async with (
        TestServer(app) as origin,
        edge(tmp_path, origin.port or 0) as platform,
        platform.visitor() as client,
    ):
        async with client.get("/status") as answer:
            assert answer.status == 200
        await origin.close()
        await eventually(partial(_is_served_stale, client, "/status"))
        await eventually(partial(_is_refused, client, "/status"))


async def _is_refused(client: aiohttp.ClientSession, path: str) -> bool:
    async with client.get(path) as answer:
        return answer.status == 502


async def test_an_open_page_says_that_it_is_stale_and_recovers(  # noqa: PLR0917 - fixtures
    platform: Balancer,
    origin: Service,
    chromium: Chromium,
    processes: Processes,
    database_url: str,
    connection: asyncpg.Connection,
) -> None:
    page = await chromium.open(f"{platform.url}/status", own_clock=True, ignore_https_errors=True)
    await expect_state(page, ".connection", "live")
    await origin.kill()
    await put_forward(page, STALE_SECONDS)
    await _says_that_it_is_stale(page)

    # Whoever comes now gets the page from the edge, and learns that it is old.
    visitor = await chromium.open(f"{platform.url}/status", own_clock=True, ignore_https_errors=True)
    await put_forward(visitor, STALE_SECONDS)
    await _says_that_it_is_stale(visitor)

    await _start(processes, database_url, origin.port)
    await connection.execute("update vps_instances set status = 'stopped'")
    for shown in (page, visitor):
        await put_forward(shown, POLL_SECONDS)
        await expect_state(shown, ".connection", "live")
        await expect_state(shown, "[data-status]", "fresh")
        stopped = shown.locator("[data-value='vps.byStatus.stopped'][data-format]").first
        await expect(stopped).to_have_text("1")


async def test_a_browser_beyond_the_limit_of_sockets_asks_the_edge_for_the_page(
    tmp_path: Path, origin: Service, chromium: Chromium, connection: asyncpg.Connection
) -> None:
    async with (
        edge(tmp_path, origin.port, sockets_max=1) as full,
        full.visitor() as client,
        client.ws_connect("/ws/status", headers={"Origin": full.url}),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/ws/status", headers={"Origin": full.url})
        assert refused.value.status == 503
        page = await chromium.open(f"{full.url}/status", own_clock=True, ignore_https_errors=True)
        await connection.execute("update vps_instances set status = 'stopped'")
        stopped = page.locator("[data-value='vps.byStatus.stopped'][data-format]").first
        await eventually(partial(_polls, page, stopped))


async def _polls(page: Page, stopped: Locator) -> bool:
    """Let the page ask again; what the edge has kept may be a second old."""
    await put_forward(page, POLL_SECONDS)
    return await stopped.text_content() == "1"


async def _says_that_it_is_stale(page: Page) -> None:
    await expect_state(page, "[data-status]", "stale")
    await expect(page.locator(".freshness")).to_contain_text("Last known, from")
