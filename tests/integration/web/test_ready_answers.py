"""What strangers ask for lies ready: no query, one rendering, 304 for who has it already, and limits all the same."""

from typing import Any

import pytest

from containerstacks_shared.db import Connection
from containerstacks_web.keys import POOL, SNAPSHOT_FEED
from containerstacks_web.pages import handlers
from containerstacks_web.pages.rendering import render_for_strangers
from support import fleet
from support.waiting import eventually
from support.web_site import OpenSite, Site

PATHS = ("/status", "/api/health/stats", "/api/health/billing-daemon")
SHARED_HEADERS = (
    "Content-Security-Policy",
    "X-Request-ID",
    "RateLimit",
    "Vary",
    "Cache-Control",
    "X-Frame-Options",
)


@pytest.mark.parametrize("path", PATHS)
async def test_who_has_it_already_is_told_so(site: Site, path: str) -> None:
    first = await site.get(path)
    again = await site.get(path, if_none_match=first.headers["ETag"])
    if again.status == 200:
        # Another reading came in between.
        again = await site.get(path, if_none_match=again.headers["ETag"])
    assert again.status == 304
    assert await again.read() == b""
    assert again.headers["ETag"].startswith('W/"')
    assert "X-Request-ID" in again.headers


@pytest.mark.parametrize("path", PATHS)
async def test_a_new_reading_is_a_new_answer(site: Site, connection: Connection, path: str) -> None:
    first = await site.get(path)
    version = site.version
    organization = await fleet.add_organization(connection)
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection))
    await eventually(lambda: site.version > version)
    assert (await site.get(path, if_none_match=first.headers["ETag"])).status == 200


async def test_strangers_cost_no_query_and_one_rendering(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await open_site(without=("builtin_billing", "feed"))
    await site.app[SNAPSHOT_FEED]._look()
    rendered = 0

    async def counted(*arguments: Any) -> bytes:
        nonlocal rendered
        rendered += 1
        return await render_for_strangers(*arguments)

    monkeypatch.setattr(handlers, "render_for_strangers", counted)
    # Whoever asked the database now would fail.
    site.app[POOL].terminate()
    for _ in range(20):
        for path in PATHS:
            assert (await site.get(path)).status == 200
    assert 1 <= rendered <= 3


@pytest.mark.parametrize("path", PATHS)
async def test_the_short_way_and_the_long_way_answer_alike(site: Site, path: str) -> None:
    short = await site.get(path)
    # A request that names itself is logged, and goes the long way.
    long = await site.get(path, x_request_id="told-by-a-proxy")
    assert long.headers["X-Request-ID"] == "told-by-a-proxy"
    assert short.content_type == long.content_type
    for name in SHARED_HEADERS:
        assert (name in short.headers) == (name in long.headers), name
        if name not in {"X-Request-ID", "RateLimit"}:
            assert short.headers[name] == long.headers[name]
    if path == "/status":
        assert "VPS" in await short.text()
    else:
        assert (await short.json()).keys() == (await long.json()).keys()


async def test_a_theme_is_kept_apart(site: Site) -> None:
    plain = await (await site.get("/status")).text()
    dark = await (await site.get("/status", cookie="theme=dark")).text()
    assert 'data-theme="dark"' in dark
    assert 'data-theme="dark"' not in plain


async def test_it_is_zipped_only_for_those_who_can_unzip(site: Site) -> None:
    plain = await site.client.get("/status", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    zipped = await site.client.get("/status", headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert int(zipped.headers["Content-Length"]) < len(await plain.read())


async def test_a_stranger_who_asks_too_often_is_refused_and_counted_once(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_anonymous="5/15 minutes")
    codes = [(await site.get("/api/health/stats")).status for _ in range(7)]
    assert codes == [200] * 5 + [429] * 2
    refused = await site.get("/api/health/stats")
    assert int(refused.headers["Retry-After"]) > 0
