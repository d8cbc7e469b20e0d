"""The live socket: the full state on connect, then each newer one, and no browser in another's way."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest

from containerstacks_shared.billing.status import DaemonReading
from containerstacks_shared.database import db
from containerstacks_shared.database.db import Connection
from containerstacks_shared.database.notify import Channel, Subscription
from containerstacks_web.live import feed
from containerstacks_web.live.feed import SnapshotFeed
from containerstacks_web.live.hub import HUB
from support import fleet, promises
from support.waiting import eventually, time_limit
from support.web_site import OpenSite, Site, closed

PATH = "/ws/status"


async def receive(browser: aiohttp.ClientWebSocketResponse, within: float = 8) -> Any:
    return json.loads(await browser.receive_str(timeout=within))


async def test_a_browser_gets_the_full_state_on_connect(site: Site, connection: Connection) -> None:
    await fleet.add_instance(connection)

    async def is_known() -> bool:
        return bool((await site.json("/api/health/stats"))["vps"]["total"] == 1)

    await eventually(is_known)
    async with site.client.ws_connect(PATH) as browser:
        message = await receive(browser)
    assert set(message) == {"type", "version", "timestamp", "vps", "daemon"}
    assert message["type"] == "status"
    assert message["vps"] == (await site.json("/api/health/stats"))["vps"]
    assert message["daemon"] == (await site.json("/api/health/billing-daemon"))["daemon"]
    assert message["vps"]["total"] == 1
    assert datetime.fromisoformat(message["timestamp"]).tzinfo is not None


async def test_a_change_reaches_every_browser_within_a_second(site: Site, connection: Connection) -> None:
    organization = await fleet.add_organization(connection)
    plan = await fleet.add_plan(connection)
    async with site.client.ws_connect(PATH) as one, site.client.ws_connect(PATH) as another:
        versions = [(await receive(browser))["version"] for browser in (one, another)]
        await fleet.add_instance(connection, organization, plan, status="failed")
        async with time_limit("no browser heard of the change", within=promises.SHOWN_SECONDS):
            for browser, version in zip((one, another), versions, strict=True):
                message = await receive(browser)
                while message["vps"]["byStatus"]["error"] != 1:
                    message = await receive(browser)
                assert message["version"] > version


async def test_a_repair_right_after_a_change_is_shown(
    site: Site, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_ECHO_SECONDS", 1.0)

    async def shows(total: int) -> bool:
        return bool((await site.json("/api/health/stats"))["vps"]["total"] == total)

    await fleet.add_instance(connection)
    await eventually(lambda: shows(1))
    # A repair announces changed counts, and appends no delta.
    await connection.execute(
        "insert into counts (metric, status, amount) values ('vps_instances', 'running', 7)"
    )
    await connection.execute("select pg_notify($1, '')", Channel.COUNTS_CHANGED)
    await eventually(lambda: shows(8), promises.SHOWN_WITHOUT_HINT_SECONDS)


async def test_what_billing_said_is_read_after_a_reading_that_failed(
    pool: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[bytes] = []
    followed = SnapshotFeed(
        pool, billing_interval=timedelta(hours=1), publish=published.append, renew=published.append
    )
    subscription = Subscription(frozenset(feed.CHANNELS), missed=False)
    await followed._look()

    async def fail(*_arguments: object, **_options: object) -> DaemonReading:
        raise ConnectionError("the database is away")

    subscription.offer(Channel.BILLING_CHANGED)
    await followed._hear(subscription, 0)
    with monkeypatch.context() as patched:
        patched.setattr(feed, "read_daemon", fail)
        await followed._look()
    assert followed.failing
    before = followed._billing
    await followed._look()
    assert followed.healthy
    assert followed._billing is not before


async def test_versions_grow_across_replicas(open_site: OpenSite) -> None:
    one, another = await open_site(), await open_site()
    async with one.client.ws_connect(PATH) as first, another.client.ws_connect(PATH) as second:
        seen = [(await receive(browser))["version"] for browser in (first, second)]
    assert len(set(seen)) == len(seen)


async def test_a_page_of_another_site_is_refused(site: Site) -> None:
    for origin in ("https://example.org", "null"):
        assert await site.socket_refusal(PATH, origin=origin) == 403
    own = str(site.client.make_url("/").origin())
    async with site.client.ws_connect(PATH, headers={"Origin": own}) as browser:
        assert (await receive(browser))["type"] == "status"


async def test_a_request_without_a_handshake_gets_426(site: Site) -> None:
    answer = await site.get(PATH)
    assert answer.status == 426
    assert (answer.headers["Upgrade"], answer.headers["Connection"]) == ("websocket", "Upgrade")
    assert answer.content_type == "application/problem+json"
    assert (await answer.json())[
        "detail"
    ] == "This address is a WebSocket, and the request is not a handshake."


async def test_one_address_has_a_limit_of_connections(open_site: OpenSite) -> None:
    site = await open_site(ws_clients_per_address=2, trusted_proxies="127.0.0.1")
    async with site.client.ws_connect(PATH), site.client.ws_connect(PATH):
        assert await site.socket_refusal(PATH) == 429
        async with site.client.ws_connect(PATH, headers={"X-Forwarded-For": "203.0.113.7"}) as elsewhere:
            assert (await receive(elsewhere))["type"] == "status"
    # Who leaves makes room.
    await eventually(lambda: len(site.app[HUB]) == 0)
    async with site.client.ws_connect(PATH) as again:
        assert (await receive(again))["type"] == "status"


async def test_one_process_has_a_limit_of_connections(open_site: OpenSite) -> None:
    site = await open_site(ws_clients_max=1)
    async with site.client.ws_connect(PATH):
        assert await site.socket_refusal(PATH) == 503


async def test_a_browser_that_sends_too_much_is_disconnected(site: Site) -> None:
    async with site.client.ws_connect(PATH) as large:
        await large.send_str("x" * 5000)
        assert await closed(large) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    async with site.client.ws_connect(PATH) as chatty:
        for _ in range(25):
            await chatty.send_str("hello")
        assert await closed(chatty) == aiohttp.WSCloseCode.POLICY_VIOLATION


@pytest.mark.parametrize("kind", ["ping", "pong"])
async def test_control_frames_count_like_messages(site: Site, kind: str) -> None:
    async with site.client.ws_connect(PATH) as nagging:
        for _ in range(25):
            await getattr(nagging, kind)(b"x" * 125)
        assert await closed(nagging) == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_ping_is_answered(site: Site) -> None:
    async with site.client.ws_connect(PATH, autoping=False) as polite, time_limit("no pong came"):
        await polite.ping(b"are you there")
        while (answer := await polite.receive()).type is not aiohttp.WSMsgType.PONG:
            pass
    assert answer.data == b"are you there"


async def test_browsers_get_the_restart_code_at_shutdown(open_site: OpenSite) -> None:
    site = await open_site()
    async with site.client.ws_connect(PATH) as browser:
        await receive(browser)
        closing = asyncio.ensure_future(site.app[HUB].close())
        assert await closed(browser) == aiohttp.WSCloseCode.SERVICE_RESTART
        await closing
    assert await site.socket_refusal(PATH) == 503


async def test_a_browser_gets_at_most_twenty_messages_a_second(open_site: OpenSite) -> None:
    site = await open_site(without=("builtin_billing", "feed"))
    hub = site.app[HUB]
    loop = asyncio.get_running_loop()
    async with site.client.ws_connect(PATH) as browser:
        started = loop.time()
        arrived = 0
        number = 0
        async with time_limit("22 messages did not arrive"):
            while arrived < 22:
                hub.publish(json.dumps({"number": number}).encode())
                number += 1
                try:
                    last = await browser.receive_str(timeout=0.005)
                    arrived += 1
                except TimeoutError:
                    pass
        # So at most 21 arrived in the first second.
        assert loop.time() - started >= 1
        # Only the newest was sent.
        while json.loads(last).get("number") != number - 1:
            last = await browser.receive_str(timeout=10)
