"""Idle and slow clients are disconnected, and others do not notice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp

from support import web_site
from support.waiting import time_limit, time_passes
from support.web_site import Site

HALF_OPEN = 1000


@contextlib.asynccontextmanager
async def half_open(site: Site, count: int, said: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Keep so many connections whose request never becomes whole."""
    host, port = site.client.host, site.client.port
    streams = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(said)
        streams.append((reader, writer))
    try:
        yield [reader for reader, _ in streams]
    finally:
        for _, writer in streams:
            writer.transport.abort()


async def test_a_thousand_half_open_connections_are_survived(database_url: str) -> None:
    async with web_site.open_site(database_url, head_seconds_max=10) as site:
        async with half_open(site, HALF_OPEN, b"GET /status HTTP/1.1\r\nHost: here\r\nX-Slow: ") as readers:
            for path in ("/status", "/api/health/stats", "/healthz"):
                assert (await site.get(path)).status == 200
            async with site.client.ws_connect("/ws/status") as browser:
                await browser.receive_str(timeout=20)
            # All of that beside them, not after them.
            assert not readers[-1].at_eof()
            async with time_limit("half-open connections were kept"):
                await asyncio.gather(*(reader.read() for reader in readers), return_exceptions=True)
        assert (await site.get("/status")).status == 200


async def test_a_request_head_that_arrives_too_slowly_is_cut_off(database_url: str) -> None:
    async with web_site.open_site(database_url, head_seconds_max=0.5) as site:
        reader, writer = await asyncio.open_connection(site.client.host, site.client.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        # The connection may idle between requests; once a head has begun, it has to come.
        await time_passes(0.8)
        with contextlib.suppress(ConnectionError):
            async with time_limit("a trickling head was waited for"):
                for byte in b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"a" * 1000:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    if reader.at_eof():
                        break
                    await time_passes(0.05)
        async with time_limit("the connection was not closed"):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_a_complete_request_has_no_time_limit(database_url: str) -> None:
    async with (
        web_site.open_site(database_url, head_seconds_max=0.3) as site,
        site.client.ws_connect("/ws/status") as browser,
    ):
        await time_passes(0.6)
        await browser.ping()
        assert (await browser.receive(timeout=20)).type is aiohttp.WSMsgType.TEXT


async def test_a_flood_from_one_address_leaves_the_limit_of_others_alone(database_url: str) -> None:
    async with web_site.open_site(
        database_url, trusted_proxies="127.0.0.1", rate_limit_anonymous="20/minute"
    ) as site:

        async def flood() -> list[int]:
            answers = [await site.get("/api/health", x_forwarded_for="198.51.100.7") for _ in range(150)]
            return [answer.status for answer in answers]

        floods = [asyncio.create_task(flood()) for _ in range(4)]
        others = [
            (await site.get("/api/health/stats", x_forwarded_for=f"203.0.113.{number}")).status
            for number in range(50)
        ]
        statuses = [status for answers in await asyncio.gather(*floods) for status in answers]
    assert others == [200] * 50
    assert statuses.count(200) == 20
    assert statuses.count(429) == len(statuses) - 20
