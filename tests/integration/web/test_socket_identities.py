"""Who is at the other end of a socket: what they may ask for, how it ends, and frames of every kind."""

import asyncio
import json
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from containerstacks_shared.database.db import Connection
from containerstacks_web.live.admin_sockets import ADMIN_SOCKETS, ENDED, AdminSocket
from containerstacks_web.live.hub import HUB
from support import fleet, web_site
from support.examples import examples
from support.waiting import eventually, time_limit
from support.web_site import OpenSite, Site, closed

PATH = "/ws/status"
EMAIL = "ada@example.com"
# What a server may close with, or a connection that just ended.
DOCUMENTED = {1000, 1002, 1003, 1007, 1008, 1009, 1012, ENDED, 1006, None}


async def until_details(browser: aiohttp.ClientWebSocketResponse) -> Any:
    async with time_limit("no details came"):
        while True:
            message = json.loads(await browser.receive_str())
            if message["type"] == "details":
                return message


async def test_administrators_may_ask_for_details(site: Site, key: str) -> None:
    headers = {"X-API-Key": key}
    async with site.client.ws_connect(f"{PATH}?topics=status,details", headers=headers) as browser:
        message = await until_details(browser)
    assert "byRawStatus" in message["vps"]
    assert "totalAmount" in message["daemon"]


async def test_only_administrators_get_details(site: Site, connection: Connection) -> None:
    user = await web_site.add_api_key(connection, role="user")
    for headers, status in (({}, 401), ({"x_api_key": user}, 403), ({"x_api_key": "wrong"}, 401)):
        assert await site.socket_refusal(f"{PATH}?topics=details", **headers) == status
    assert await site.socket_refusal(f"{PATH}?topics=everything") == 400


async def test_a_session_ended_elsewhere_ends_its_socket(open_site: OpenSite, connection: Connection) -> None:
    site, replica = await open_site(), await open_site()
    await fleet.add_user(connection, email=EMAIL, role="admin")
    await site.sign_in(EMAIL)
    async with site.client.ws_connect(f"{PATH}?topics=details") as browser:
        await until_details(browser)
        await replica.sign_in(EMAIL)
        assert (await replica.send_form("/logout/everywhere")).status == 303
        assert await closed(browser) == ENDED
    assert await connection.fetchval("select count(*) from web_sessions where user_id is not null") == 0


@pytest.mark.parametrize("how", ["revoked", "demoted", "deleted"])
async def test_a_key_that_becomes_invalid_ends_its_socket(
    site: Site, connection: Connection, how: str
) -> None:
    user_id = await fleet.add_user(connection, role="admin")
    headers = {"X-API-Key": await web_site.add_api_key_of(connection, user_id)}
    async with site.client.ws_connect(PATH, headers=headers) as browser:
        await browser.receive_str()
        await _end(connection, user_id, how)
        assert await closed(browser) == ENDED


async def test_sockets_whose_credentials_end_together_are_closed_together(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The close of a browser that is gone takes two seconds."""
    all_closing, closed = asyncio.Barrier(3), asyncio.Semaphore(0)

    async def sees_nothing(_request: web.Request) -> bool:
        return False

    async def end() -> None:
        await all_closing.wait()
        closed.release()

    sockets = site.app[ADMIN_SOCKETS]
    monkeypatch.setattr(sockets, "_still_sees_details", sees_nothing)
    for _ in range(all_closing.parties):
        request = make_mocked_request("GET", PATH)
        sockets.add(AdminSocket(request, send=lambda _message: None, end=end, wants_details=False))
    async with time_limit("one close waited for another", within=10):
        for _ in range(all_closing.parties):
            await closed.acquire()


async def _end(connection: Connection, user_id: UUID, how: str) -> None:
    statements = {
        "revoked": "update user_api_keys set active = false where user_id = $1",
        "demoted": "update users set role = 'user' where id = $1",
        "deleted": "delete from users where id = $1",
    }
    await connection.execute(statements[how], user_id)


async def test_pages_of_sites_that_may_read_may_listen(open_site: OpenSite, connection: Connection) -> None:
    panel = {"Origin": "https://panel.example.com"}
    site = await open_site(cors_origins="https://panel.example.com")
    async with site.client.ws_connect(PATH, headers=panel) as browser:
        assert json.loads(await browser.receive_str())["type"] == "status"
    # An administrator's cookie that came along is not that site's to use.
    await fleet.add_user(connection, email=EMAIL, role="admin")
    await site.sign_in(EMAIL)
    assert await site.socket_refusal(PATH, **panel) == 403


@examples(60)
@given(sent=st.lists(st.binary(max_size=300), max_size=8))
async def test_no_frame_breaks_the_socket_of_another_client(site: Site, sent: list[bytes]) -> None:
    # Half a frame makes the server wait for the rest, and our goodbye is taken for it: so no waiting for an answer.
    impatient = aiohttp.ClientWSTimeout(ws_close=0.2)
    async with site.client.ws_connect(PATH, timeout=impatient) as browser:
        connection = browser._response.connection
        assert connection is not None
        assert connection.transport is not None
        for data in sent:
            connection.transport.write(data)
        # This client is served or disconnected, and the next one can connect.
        async with site.client.ws_connect(PATH) as another:
            assert json.loads(await another.receive_str(timeout=8))["type"] == "status"
        await browser.close()
        assert browser.close_code in DOCUMENTED
    await eventually(lambda: len(site.app[HUB]) == 0)
