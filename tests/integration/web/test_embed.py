"""The widget for other sites: small, framable, and the only page that is."""

import re

from containerstacks_shared.database.db import Connection
from support import looks
from support.waiting import eventually
from support.web_site import Site

BYTES_MAX = 3 * 1024


async def test_the_widget_is_small_and_says_the_status(site: Site, connection: Connection) -> None:
    assert "Status Unknown" in await (await site.get("/embed", accept="text/html")).text()
    await looks.find_all_well(connection)

    async def is_well() -> str | None:
        page = await (await site.get("/embed", accept="text/html")).text()
        return page if ">All Systems Operational<" in page else None

    page = await eventually(is_well)
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(files) == 2
    sizes = [len(await (await site.get(file)).read()) for file in files]
    assert len(page.encode()) + sum(sizes) <= BYTES_MAX


async def test_only_the_widget_may_be_framed(site: Site) -> None:
    widget = await site.get("/embed", accept="text/html")
    assert "frame-ancestors *" in widget.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in widget.headers
    for path in ("/status", "/about", "/login", "/embed/more"):
        other = await site.get(path, accept="text/html")
        assert "frame-ancestors 'none'" in other.headers["Content-Security-Policy"]
        assert other.headers["X-Frame-Options"] == "DENY"
