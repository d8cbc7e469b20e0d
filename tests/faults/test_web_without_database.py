"""The web service while PostgreSQL is away: it says what it knows and how old that is, and recovers."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from containerstacks_web.live.feed import SNAPSHOT_FEED
from support import databases, fleet, promises, web_site
from support.dark_proxy import DarkProxy
from support.processes import Processes
from support.waiting import becomes, eventually
from support.web_site import SESSION_COOKIE, Site, open_site

EMAIL = "ada@example.com"


@pytest.fixture
async def postgres() -> AsyncIterator[EmbeddedPostgres]:
    """Give a server of its own, migrated: others would not like it to stop."""
    with databases.embedded_postgres() as postgres:
        await asyncio.to_thread(migrate, await asyncio.to_thread(postgres.start))
        yield postgres


async def status_of(site: Site, path: str, **headers: str) -> int:
    return (await site.get(path, **headers)).status


async def test_the_last_figures_stay_and_their_age_is_shown(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.dsn()
    connection = await asyncpg.connect(dsn)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    await fleet.add_instance(connection)
    await fleet.add_user(connection, email=EMAIL, role="admin")
    key = await web_site.add_api_key(connection, role="admin")
    await connection.close()

    async with open_site(dsn) as site:
        assert (await site.sign_in(EMAIL)).status == 303
        cookie = f"{SESSION_COOKIE}={site.session_cookie}"
        site.client.session.cookie_jar.clear()
        figures = await site.json("/api/health/platform-stats")
        before = await site.json("/api/health/stats")
        assert before["vps"]["total"] == 1

        await asyncio.to_thread(postgres.stop, "immediate")
        await becomes(lambda: status_of(site, "/readyz"), 503)
        assert await status_of(site, "/healthz") == 200
        during = await site.json("/api/health/stats")
        assert during["vps"] == before["vps"]
        assert during["lastUpdated"] >= before["lastUpdated"]
        daemon = await site.json("/api/health/billing-daemon")
        assert daemon["timestamp"] == during["lastUpdated"]
        assert (await site.json("/api/health/platform-stats"))["stats"] == figures["stats"]
        for path in ("/status", "/about"):
            assert await status_of(site, path, accept="text/html") == 200
        # Signing in is impossible now, and the page says so.
        assert await status_of(site, "/login", accept="text/html") == 503
        # A session that cannot be checked counts as anonymous; a credential that cannot be checked gets 503.
        assert "byRawStatus" not in (await site.json("/api/health/stats", cookie=cookie))["vps"]
        refused = await site.get("/api/health/stats", x_api_key=key)
        assert refused.status == 503
        assert refused.content_type == "application/problem+json"
        assert "Retry-After" in refused.headers
        async with site.client.ws_connect("/ws/status") as browser:
            message = await browser.receive_json(timeout=5)
            assert message["timestamp"] == during["lastUpdated"]

        await asyncio.to_thread(postgres.start)

        async def recovered() -> Any:
            assert await status_of(site, "/readyz") != 503
            now = await site.json("/api/health/stats", x_api_key=key)
            assert "byRawStatus" in now["vps"]
            public = await site.json("/api/health/stats")
            return datetime.fromisoformat(public["lastUpdated"]) > datetime.fromisoformat(
                during["lastUpdated"]
            )

        await eventually(recovered, promises.RECOVERED_SECONDS)


async def test_a_site_without_a_first_reading_says_so(postgres: EmbeddedPostgres) -> None:
    async with open_site(postgres.dsn(), without=("builtin_billing", "feed", "listener")) as site:
        await asyncio.to_thread(postgres.stop, "immediate")
        for path in ("/api/health/stats", "/api/health/billing-daemon", "/api/health/platform-stats"):
            answer = await site.get(path)
            assert answer.status == 503, path
            assert answer.content_type == "application/problem+json"
        assert await status_of(site, "/api/health") == 200
        assert await status_of(site, "/status", accept="text/html") == 503


async def test_a_dark_network_is_detected_and_recovered_from(database_url: str, proxy: DarkProxy) -> None:
    async with open_site(proxy.dsn) as site:
        known = await site.json("/api/health/stats")
        assert await state_of_database(site) != "down"
        proxy.go_dark()
        await becomes(lambda: status_of(site, "/readyz"), 503)
        assert (await site.json("/api/health/stats"))["vps"] == known["vps"]
        # The board gets no hint, but it sees that the figures cannot be read.
        await eventually(lambda: not site.app[SNAPSHOT_FEED].healthy)
        during = await state_of_database(site)
        connection = await asyncpg.connect(database_url)
        await fleet.add_instance(connection)
        await connection.close()
        proxy.go_light()

        async def shows_the_change() -> bool:
            document = await site.json("/api/health/stats")
            return bool(document["vps"]["total"] == 1)

        await eventually(shows_the_change, promises.RECOVERED_SECONDS)
        assert during == "down"


async def state_of_database(site: Site) -> str:
    (state,) = (
        str(each["state"])
        for each in (await site.json("/api/status/components"))["components"]
        if each["component"] == "database"
    )
    return state


async def test_a_daemon_is_not_shown_as_running_while_the_database_is_away(
    database_url: str, proxy: DarkProxy, processes: Processes
) -> None:
    await processes.start_billing_daemon(database_url)
    async with open_site(proxy.dsn, without=("builtin_billing",)) as site:
        # A request with an Origin header is not answered from the cache.
        origin = str(site.client.make_url("/").origin())

        async def says(status: str) -> Any:
            answers = [
                await (await site.get("/api/health/billing-daemon", **headers)).json()
                for headers in ({}, {"origin": origin})
            ]
            assert [answer["daemon"]["status"] for answer in answers] == [status] * 2
            return answers[0]

        alive = await eventually(lambda: says("running"), pause=0.5)
        assert (alive["daemon"]["isStale"], alive["daemon"]["activeBiller"]) == (False, "daemon")
        proxy.go_dark()
        known = (await site.get("/api/health/billing-daemon")).headers["ETag"]
        silent = await eventually(lambda: says("stopped"), pause=0.5)
        assert (silent["daemon"]["isStale"], silent["daemon"]["activeBiller"]) == (True, "none")
        assert silent["daemon"]["lastRun"] == alive["daemon"]["lastRun"]
        for headers in ({}, {"origin": origin}):
            answer = await site.get("/api/health/billing-daemon", if_none_match=known, **headers)
            assert answer.status == 200
        proxy.go_light()
        await eventually(lambda: says("running"), promises.RECOVERED_SECONDS, pause=0.5)
