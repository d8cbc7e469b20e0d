"""The widget in a frame of another site: live, and honest when it reaches nobody."""

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from containerstacks_shared.database.db import Connection
from support import looks
from support.chromium import Chromium
from support.processes import Processes
from support.waiting import eventually


async def test_the_widget_says_unknown_when_it_reaches_nobody(
    database_url: str, connection: Connection, processes: Processes, chromium: Chromium
) -> None:
    service = await processes.start_web(database_url)
    await looks.find_all_well(connection)

    async def is_shown() -> bool:
        document = await service.get_json("/api/v2/status.json")
        return bool(document["status"]["description"] == "All Systems Operational")

    await eventually(is_shown)

    async def other_site(_request: web.Request) -> web.Response:
        return web.Response(text=f'<iframe src="{service.url}/embed"></iframe>', content_type="text/html")

    application = web.Application()
    application.router.add_get("/", other_site)
    async with TestServer(application) as server:
        page = await chromium.open(str(server.make_url("/")), own_clock=True)
        link = page.frame_locator("iframe").locator("a")
        await expect(link).to_have_attribute("href", "/status")
        await page.clock.run_for(61_000)
        await expect(link).to_have_text("All Systems Operational")
        await service.kill()
        await page.clock.run_for(61_000)
        await expect(link).to_have_text("Status Unknown")
