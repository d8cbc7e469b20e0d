"""Cached answers for anonymous visitors: no query, one rendering, 304 where it matches, limits as usual."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from containerstacks_shared.database.db import Connection
from containerstacks_web import response_cache
from containerstacks_web.database import POOL
from containerstacks_web.http.headers import PUBLIC_CACHING
from containerstacks_web.live import freshness as live_freshness
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.pages import handlers
from containerstacks_web.rendering.templates import render_anonymous
from support import fleet
from support.waiting import LIMIT_SECONDS, eventually, time_limit
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
async def test_a_client_with_the_current_version_gets_304(site: Site, path: str) -> None:
    first = await site.get(path)
    assert first.headers["ETag"].startswith('W/"')
    assert first.headers["Vary"].startswith("Authorization, Cookie, X-API-Key")
    assert first.headers["Cache-Control"] == PUBLIC_CACHING

    async def unchanged() -> bool:
        # A new reading may have come in between; then the next pair is tried.
        known = (await site.get(path)).headers["ETag"]
        again = await site.get(path, if_none_match=known)
        assert again.status == 304, again.status
        assert await again.read() == b""
        assert "X-Request-ID" in again.headers
        return again.headers["ETag"] == known

    await eventually(unchanged)


@pytest.mark.parametrize("path", PATHS)
async def test_a_new_reading_is_a_new_answer(site: Site, connection: Connection, path: str) -> None:
    first = await site.get(path)
    version = site.version
    await fleet.add_instance(connection)
    await eventually(lambda: site.version > version)
    assert (await site.get(path, if_none_match=first.headers["ETag"])).status == 200


async def test_anonymous_visitors_cost_no_query_and_one_rendering(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await open_site(without=("builtin_billing", "feed", "board", "history"))
    await site.app[SNAPSHOT_FEED]._look()
    rendered = 0

    async def counted(*arguments: Any) -> bytes:
        nonlocal rendered
        rendered += 1
        return await render_anonymous(*arguments)

    monkeypatch.setattr(handlers, "render_anonymous", counted)
    page = response_cache._ADDRESSES["/status"]
    monkeypatch.setitem(response_cache._ADDRESSES, "/status", replace(page, seconds=LIMIT_SECONDS))
    # A query would fail now.
    site.app[POOL].terminate()
    for _ in range(20):
        for path in PATHS:
            assert (await site.get(path)).status == 200
    assert rendered == 1


async def test_a_cached_page_is_fresh_no_longer_than_its_data(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await open_site(without=("builtin_billing", "feed", "board", "history"))
    await site.app[SNAPSHOT_FEED]._look()

    async def freshness() -> str:
        found = re.search(r'data-status [^>]*data-state="(\w+)"', await (await site.get("/status")).text())
        assert found is not None
        return found[1]

    assert await freshness() == "fresh"
    # As if the rest of its ten seconds had passed within the second for which a page is kept.
    monkeypatch.setattr(live_freshness, "FRESH_SECONDS_MAX", 0)
    assert await freshness() == "stale"


@pytest.mark.parametrize("path", PATHS)
async def test_cached_and_rendered_answers_are_alike(site: Site, path: str) -> None:
    short = await site.get(path)
    # A request with an Origin header is not answered from the cache.
    long = await site.get(path, origin=str(site.client.make_url("/").origin()))
    assert short.content_type == long.content_type
    for name in SHARED_HEADERS:
        assert (name in short.headers) == (name in long.headers), name
        if name not in {"X-Request-ID", "RateLimit"}:
            assert short.headers[name] == long.headers[name]
    if path == "/status":
        assert "VPS" in await short.text()
    else:
        assert (await short.json()).keys() == (await long.json()).keys()


async def ask(site: Site, head: str, *, answers: int = 1) -> list[str]:
    """Send what is no browser's, and return the heads of the answers, or of as many as come before the end."""
    url = site.client.make_url("/")
    reader, writer = await asyncio.open_connection(url.host, url.port)
    heads: list[str] = []
    try:
        async with time_limit("the answers did not come"):
            writer.write(head.replace("\n", "\r\n").encode())
            while len(heads) < answers:
                heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                found = re.search(r"Content-Length: (\d+)", heads[-1])
                await reader.readexactly(0 if found is None or " 304 " in heads[-1] else int(found[1]))
            if "Connection: close" in heads[-1]:
                assert await reader.read() == b""
    finally:
        writer.close()
    return heads


@pytest.mark.parametrize("path", PATHS)
async def test_a_connection_stays_open_as_long_as_its_client_wants(site: Site, path: str) -> None:
    again = f"GET {path} HTTP/1.1\nHost: here\n\n"
    last = f"GET {path} HTTP/1.1\nHost: here\nConnection: close\n\n"
    # The first two are pipelined.
    first, second, third = await ask(site, again + again + last, answers=3)
    assert first.startswith("HTTP/1.1 200 OK\r\n")
    assert "Connection:" not in first + second
    assert "Connection: close\r\n" in third
    (old,) = await ask(site, f"GET {path} HTTP/1.0\nHost: here\n\n")
    assert "Connection: close\r\n" in old
    (kept,) = await ask(site, f"GET {path} HTTP/1.0\nHost: here\nConnection: keep-alive\n\n")
    assert "Connection: keep-alive\r\n" in kept


async def test_cached_heads_are_dated_and_repeat_no_header(site: Site) -> None:
    await site.get("/status")
    requests = (
        "GET /status HTTP/1.1\nHost: here\n\n",
        "GET /status HTTP/1.1\nHost: here\nIf-None-Match: *\n\n",
    )
    whole, unchanged = await ask(site, "".join(requests), answers=2)
    assert unchanged.startswith("HTTP/1.1 304 Not Modified\r\n")
    for head in (whole, unchanged):
        names = [line.partition(":")[0].lower() for line in head.strip().splitlines()[1:]]
        assert len(names) == len(set(names))
        assert {"date", "etag", "vary", "server"} <= set(names)
        dated = re.search(r"Date: (.*) GMT\r\n", head)
        assert dated is not None
        age = datetime.now(UTC) - parsedate_to_datetime(f"{dated[1]} GMT")
        assert abs(age.total_seconds()) < 30
        assert ("content-length" in names) == ("content-type" in names) == (head is whole)


async def test_a_request_id_of_a_proxy_is_returned_from_the_cache(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await open_site(without=("builtin_billing", "feed"))
    await site.app[SNAPSHOT_FEED]._look()
    # The long way would end here.
    monkeypatch.setattr(handlers, "render", None)
    answer = await site.get("/status", x_request_id="given-by-a-proxy")
    assert answer.headers["X-Request-ID"] == "given-by-a-proxy"
    assert answer.status == 200
    invented = await site.get("/status", x_request_id="<script>")
    assert re.fullmatch("[0-9a-f]{32}", invented.headers["X-Request-ID"])


async def test_a_site_with_allowed_hosts_is_served_under_them_from_memory(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await open_site(allowed_hosts="status.example.com", without=("builtin_billing", "feed"))
    await site.app[SNAPSHOT_FEED]._look()
    # The long way would end here.
    monkeypatch.setattr(handlers, "render", None)
    assert (await site.get("/status", host="Status.Example.com:8080")).status == 200
    assert (await site.get("/status", host="elsewhere.example.com")).status == 421
