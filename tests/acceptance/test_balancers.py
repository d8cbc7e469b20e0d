"""The shipped settings for nginx and Caddy, run before two real web processes."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from http.cookies import Morsel
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from containerstacks_shared.local.embedded import EmbeddedPostgres
from containerstacks_shared.schema import migrate
from containerstacks_web.http.headers import TRANSPORT_SECURITY
from support import fleet, roles
from support.balancers import (
    CADDY,
    DEPLOY,
    NGINX,
    NGINX_EDGE,
    NGINX_SITE,
    Balancer,
    Certificate,
    caddy,
    nginx,
    run_to_end,
    write_nginx,
)
from support.live_page import LivePage
from support.packages import needs
from support.processes import LOCALHOST, Processes, Service
from support.waiting import becomes

RunBalancer = Callable[[Path, list[int]], AbstractAsyncContextManager[Balancer]]

# Only this address is a proxy; the visitors of the tests come from others of the loopback network.
PROXY = LOCALHOST
VISITOR = "127.0.0.5"
INVENTED = "198.51.100.9"
INVENTIONS = {
    "X-Forwarded-For": INVENTED,
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
}


@pytest.fixture
async def webs(database_url: str, processes: Processes) -> list[Service]:
    return [await processes.start_web(database_url, TRUSTED_PROXIES=PROXY) for _ in range(2)]


@pytest.fixture(
    params=[pytest.param(nginx, marks=needs("nginx-light")), pytest.param(caddy, marks=needs("caddy"))]
)
async def balancer(
    request: pytest.FixtureRequest, tmp_path: Path, webs: list[Service]
) -> AsyncIterator[Balancer]:
    folder = tmp_path / "balancer"
    folder.mkdir()
    async with request.param(folder, [web.port for web in webs]) as running:
        yield running


@needs("nginx-light")
@pytest.mark.parametrize("site", [NGINX_SITE, NGINX_EDGE], ids=["site", "edge"])
async def test_nginx_takes_the_shipped_settings(tmp_path: Path, site: Path) -> None:
    assert NGINX is not None
    certificate = await Certificate.signed_by_itself(tmp_path)
    # nginx resolves the origin's name at its start, which is not possible here.
    known = {"origin.example.com": LOCALHOST} if site == NGINX_EDGE else {}
    main = write_nginx(tmp_path, site, certificate.places | known)
    # "-t" binds nothing: ports 80 and 443 stay whose they are.
    said = await run_to_end(NGINX, "-t", "-p", tmp_path, "-c", main)
    assert "[warn]" not in said, said


@needs("caddy")
async def test_caddy_takes_the_shipped_settings(tmp_path: Path) -> None:
    assert CADDY is not None
    file = DEPLOY / "caddy" / "Caddyfile"
    said = await run_to_end(
        CADDY, "validate", "--adapter", "caddyfile", "--config", file, XDG_DATA_HOME=str(tmp_path)
    )
    assert "Valid configuration" in said, said
    assert '"level":"warn"' not in said, said


async def test_pages_and_api_are_answered_over_tls_with_a_secure_cookie(balancer: Balancer) -> None:
    async with balancer.visitor() as client:
        async with client.get("/login", headers=INVENTIONS) as page:
            assert page.status == 200
            assert page.headers["Strict-Transport-Security"] == TRANSPORT_SECURITY
            cookies: list[Morsel[str]] = list(page.cookies.values())
            assert [bool(cookie["secure"]) for cookie in cookies] == [True]
        async with client.get("/api/health/stats") as answer:
            assert (await answer.json())["vps"]["total"] == 0
        plain = f"http://localhost:{balancer.plain_port}/status?x=1"
        async with client.get(plain, allow_redirects=False) as moved:
            assert moved.status == 308
            assert moved.headers["Location"].endswith("/status?x=1")
            assert moved.headers["Location"].startswith("https://localhost")


async def test_the_visitors_address_comes_from_the_proxy_alone(
    balancer: Balancer, webs: list[Service]
) -> None:
    async with balancer.visitor(VISITOR) as client, client.get("/about?through", headers=INVENTIONS) as page:
        assert page.status == 200
    assert addresses_of("/about", webs) == [VISITOR]

    # Past the balancer: the header of a client that is not a trusted proxy is ignored.
    connector = aiohttp.TCPConnector(local_addr=(VISITOR, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as client,
        client.get(
            f"{webs[0].url}/login", headers={"X-Forwarded-For": INVENTED, "X-Forwarded-Proto": "https"}
        ) as page,
    ):
        assert "Strict-Transport-Security" not in page.headers
    assert addresses_of("/login", webs) == [VISITOR]
    # And who comes from the proxy's address is believed: the header is what decides.
    await webs[0].get_text("/api/docs", **{"X-Forwarded-For": INVENTED})
    assert addresses_of("/api/docs", webs) == [INVENTED]


async def test_a_socket_gets_each_change_and_survives_the_loss_of_a_web_process(
    balancer: Balancer, webs: list[Service], connection: asyncpg.Connection
) -> None:
    organization = await fleet.add_organization(connection)
    plan = await fleet.add_plan(connection)
    async with open_socket(balancer) as page:
        await page.next()
        await fleet.add_instance(connection, organization, plan)
        await page.next_with(running=1)
    await webs[0].kill()
    # Whichever it was: the next request and the next socket are answered by the one that is left.
    async with balancer.visitor() as client:
        for _ in range(4):
            async with client.get("/status") as answer:
                assert answer.status == 200
    async with open_socket(balancer) as page:
        await fleet.add_instance(connection, organization, plan)
        await page.next_with(running=2)


@pytest.mark.parametrize(
    "run", [pytest.param(nginx, marks=needs("nginx-light")), pytest.param(caddy, marks=needs("caddy"))]
)
async def test_pages_are_served_without_the_database_whatever_else_is_asked(
    own_postgres: EmbeddedPostgres, processes: Processes, tmp_path: Path, run: RunBalancer
) -> None:
    dsn = own_postgres.dsn()
    migrate(dsn)
    roles.grant(dsn)
    webs = [await processes.start_web(dsn, TRUSTED_PROXIES=PROXY) for _ in range(2)]
    async with run(tmp_path, [web.port for web in webs]) as balancer, balancer.visitor() as client:
        own_postgres.stop("immediate")
        for web in webs:
            await becomes(partial(is_ready, web), False)
        for _ in range(4):
            async with client.get("/login") as refused:
                assert refused.status == 503
            async with client.get("/status") as page:
                assert page.status == 200


async def test_a_foreign_page_opens_no_socket_by_naming_its_host(balancer: Balancer) -> None:
    async with balancer.visitor() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/ws/status", headers={**INVENTIONS, "Origin": "https://evil.example"})
    assert refused.value.status == 403


async def test_static_files_are_immutable(balancer: Balancer) -> None:
    async with balancer.visitor() as client:
        async with client.get("/status") as page:
            text = await page.text()
        path = text.partition('href="/static/')[2].partition('"')[0]
        seen = [await read_static(client, f"/static/{path}") for _ in range(2)]
    assert [body for body, _ in seen] == [seen[0][0]] * 2
    for _, headers in seen:
        assert "immutable" in headers["Cache-Control"]
        assert headers["Content-Encoding"] == "gzip"
    # Caddy has no cache of its own; nginx says where an answer came from.
    caches = [headers.get("X-Cache") for _, headers in seen]
    assert caches in (["MISS", "HIT"], [None, None])


async def read_static(client: aiohttp.ClientSession, path: str) -> tuple[bytes, Any]:
    async with client.get(path) as answer:
        assert answer.status == 200
        return await answer.read(), answer.headers


@contextlib.asynccontextmanager
async def open_socket(balancer: Balancer) -> AsyncIterator[LivePage]:
    async with (
        balancer.visitor() as client,
        client.ws_connect("/ws/status", headers={"Origin": balancer.url}) as socket,
    ):
        yield LivePage(socket)


async def is_ready(web: Service) -> bool:
    answer = await web.get_json("/readyz")
    return bool(answer["status"] == "ready")


def addresses_of(path: str, webs: list[Service]) -> list[str]:
    """Who asked for a path, as the web processes logged it."""
    events = [json.loads(line) for web in webs for line in web.log.splitlines() if line.startswith("{")]
    return [event["address"] for event in events if event.get("path") == path]
