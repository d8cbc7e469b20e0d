"""Replicas that share a Redis count requests together, and read the figures of the about page once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from containerstacks_shared.database.db import Connection
from containerstacks_web.http.request_limits import INVALID_CREDENTIALS
from support import fleet
from support.packages import find_program, needs
from support.processes import LOCALHOST, free_port
from support.waiting import eventually
from support.web_site import OpenSite

pytestmark = needs("redis-server")


@pytest.fixture
async def redis_url(tmp_path: Path) -> AsyncIterator[str]:
    server = find_program("redis-server")
    assert server is not None
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(server, "--port", str(port), "--bind", LOCALHOST, "--save", "", "--dir", str(tmp_path)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    url = f"redis://{LOCALHOST}:{port}/0"
    try:
        await eventually(lambda: answers(url))
        yield url
    finally:
        # It may have ended before.
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def answers(url: str) -> bool:
    async with Redis.from_url(url, retry=None) as client:
        try:
            return bool(await client.ping())
        except RedisError:
            return False


async def test_replicas_count_together(open_site: OpenSite, redis_url: str) -> None:
    one = await open_site(rate_limit_anonymous="3/hour", redis_url=redis_url)
    another = await open_site(rate_limit_anonymous="3/hour", redis_url=redis_url)
    answers = [await site.get("/api/health") for site in (one, another, one, another)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert 3590 <= int(answers[-1].headers["Retry-After"]) <= 3600


async def test_replicas_share_the_budget_of_invalid_credentials(open_site: OpenSite, redis_url: str) -> None:
    one, another = await open_site(redis_url=redis_url), await open_site(redis_url=redis_url)
    for _ in range(INVALID_CREDENTIALS.amount):
        assert (await one.get("/api/health", x_api_key="sk_live_guess")).status == 401
    refused = await another.get("/api/health", x_api_key="sk_live_guess")
    assert (refused.status, refused.headers["RateLimit"].split(";")[:2]) == (429, ['"credentials"', "r=0"])


async def test_replicas_show_the_same_figures(
    open_site: OpenSite, redis_url: str, connection: Connection
) -> None:
    one, another = await open_site(redis_url=redis_url), await open_site(redis_url=redis_url)
    first = await one.json("/api/health/platform-stats")
    await fleet.add_user(connection)
    assert (await another.json("/api/health/platform-stats"))["stats"] == first["stats"]


async def test_figures_of_another_release_are_read_anew(open_site: OpenSite, redis_url: str) -> None:
    await (await open_site(redis_url=redis_url)).json("/api/health/platform-stats")
    async with Redis.from_url(redis_url, retry=None) as client:
        (kept,) = await client.keys("*PlatformStatistics")
        await client.set(kept, '{"figures": "of another release"}', keepttl=True)
    one, another = await open_site(redis_url=redis_url), await open_site(redis_url=redis_url)
    anew = await one.json("/api/health/platform-stats")
    assert (await another.json("/api/health/platform-stats"))["stats"] == anew["stats"]


async def test_when_redis_goes_away_requests_are_still_answered_and_counted(
    open_site: OpenSite, redis_url: str
) -> None:
    site = await open_site(rate_limit_anonymous="3/hour", redis_url=redis_url)
    figures = await site.json("/api/health/platform-stats")
    async with Redis.from_url(redis_url) as client:
        await client.shutdown(nosave=True)
    assert (await site.json("/api/health/platform-stats"))["stats"] == figures["stats"]
    # The count in memory starts at zero; the request before was counted in Redis.
    assert [(await site.get("/api/health")).status for _ in range(3)] == [200, 200, 429]
