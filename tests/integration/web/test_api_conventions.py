"""HEAD, OPTIONS, Accept, hosts, other sites' pages, forms and bodies: HTTP as it is meant."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from containerstacks_shared.core.errors import DatabaseUnavailable
from containerstacks_shared.database import bounded_pool
from containerstacks_shared.database.db import Connection
from containerstacks_web.api import health
from containerstacks_web.database import POOL
from containerstacks_web.http.policy import accepts_json
from containerstacks_web.pages import incident_pages
from support import web_site
from support.waiting import eventually, time_limit
from support.web_site import OpenSite, Site

PANEL = "https://panel.example.com"
DOCUMENTS = (
    "/api/health",
    "/api/health/stats",
    "/api/health/billing-daemon",
    "/api/health/platform-stats",
    "/api/openapi.json",
)


async def refused(answer: aiohttp.ClientResponse, status: int) -> Any:
    """Return the problem document, which repeats the request's id and reveals no internals."""
    assert answer.status == status, await answer.text()
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem = await answer.json()
    assert problem["status"] == status
    assert problem["requestId"] == answer.headers["X-Request-ID"]
    assert "Traceback" not in problem["detail"]
    return problem


@pytest.mark.parametrize("path", [*DOCUMENTS, "/status", "/about"])
async def test_head_is_get_without_the_body(site: Site, path: str) -> None:
    whole = await site.get(path)
    async with site.client.head(path) as head:
        assert head.status == 200
        assert await head.read() == b""
        assert "Content-Length" in head.headers
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]
        assert head.headers["Vary"] == whole.headers["Vary"]
        assert ("ETag" in head.headers) == ("ETag" in whole.headers)


async def test_options_lists_the_allowed_methods(site: Site) -> None:
    async with site.client.options("/api/keys") as answer:
        assert answer.status == 204
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
        assert "Access-Control-Allow-Methods" not in answer.headers
    async with site.client.options("/api/nothing") as answer:
        await refused(answer, 404)


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*, text/plain"])
async def test_a_client_that_does_not_accept_json_gets_406(site: Site, accept: str) -> None:
    await refused(await site.get("/api/health/stats", accept=accept), 406)


@pytest.mark.parametrize(
    ("accept", "is_accepted"),
    [
        ("*/*", True),
        ("text/html, application/json;q=0.1", True),
        ("application/*", True),
        ("application/problem+json", True),
        ("application/json;q=0.000", False),
        ("text/html", False),
    ],
)
def test_accept_is_read_as_ranges(accept: str, is_accepted: bool) -> None:
    assert accepts_json(accept) is is_accepted


@pytest.mark.parametrize("host", ["a b", "evil.example/path", "<script>", "user@host", "host:port", ""])
async def test_a_malformed_host_is_refused(site: Site, host: str) -> None:
    answer = await site.raw(f"GET /api/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer[9:13] == b"400 "


async def test_two_hosts_or_none_are_refused(site: Site) -> None:
    two = b"GET /api/health HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nConnection: close\r\n\r\n"
    assert (await site.raw(two))[9:13] == b"400 "
    none = b"GET /api/health HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert (await site.raw(none))[9:13] == b"400 "


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
    ],
)
async def test_a_request_that_could_hide_another_is_refused(site: Site, framing: bytes) -> None:
    head = b"POST /login HTTP/1.1\r\nHost: here\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    answer = await site.raw(head + framing + b"\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
    assert answer[9:13] == b"400 "
    assert answer.count(b"HTTP/1.") == 1


async def test_hosts_that_are_not_allowed_are_refused(open_site: OpenSite) -> None:
    site = await open_site(allowed_hosts="status.example.com")
    await refused(await site.get("/api/health/stats"), 421)
    assert (await site.get("/api/health/stats", host="status.example.com:8080")).status == 200
    # Monitoring knows the process by its address.
    assert (await site.get("/healthz")).status == 200


async def test_pages_of_other_sites_may_not_read_unless_named(open_site: OpenSite) -> None:
    closed = await (await open_site()).get("/api/health/stats", origin=PANEL)
    assert "Access-Control-Allow-Origin" not in closed.headers
    site = await open_site(cors_origins=PANEL)
    answer = await site.get("/api/health/stats", origin=PANEL)
    assert answer.headers["Access-Control-Allow-Origin"] == PANEL
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert {"ETag", "Link", "RateLimit", "Retry-After", "X-Request-ID"} <= set(
        answer.headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert "Origin" in answer.headers["Vary"]
    other = await site.get("/api/health/stats", origin="https://evil.example")
    assert "Access-Control-Allow-Origin" not in other.headers
    page = await site.get("/status", origin=PANEL)
    assert "Access-Control-Allow-Origin" not in page.headers
    # Caches must know it of what nobody's page asked for, too.
    plain = await site.get("/api/health/stats")
    assert "Access-Control-Allow-Origin" not in plain.headers
    assert plain.headers["Vary"] == other.headers["Vary"] == answer.headers["Vary"]
    assert "Origin" in (await site.get("/api/health")).headers["Vary"]
    # A refusal is readable too: a page has to know why.
    wrong = await site.get("/api/health/stats", origin=PANEL, x_api_key="sk_live_no")
    assert (wrong.status, wrong.headers["Access-Control-Allow-Origin"]) == (401, PANEL)


async def test_a_preflight_is_answered(open_site: OpenSite) -> None:
    site = await open_site(cors_origins=f"{PANEL}, https://other.example:8443")
    asked = {"Origin": PANEL, "Access-Control-Request-Method": "GET"}
    async with site.client.options("/api/health/stats", headers=asked) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == PANEL
        assert "GET" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    async with site.client.options("/api/health/stats", headers=asked | {"Origin": "null"}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Access-Control-Allow-Methods" not in answer.headers


async def test_every_site_may_read_when_the_setting_allows_all(open_site: OpenSite) -> None:
    site = await open_site(cors_origins="*")
    for asked in ({"origin": "https://anybody.example"}, {}):
        answer = await site.get("/api/health/stats", **asked)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_forms_and_json_documents_are_not_interchangeable(site: Site, connection: Connection) -> None:
    async with site.client.post("/login", json={"email": "a@b.c"}) as answer:
        await refused(answer, 415)
    key = {"X-API-Key": await web_site.add_api_key(connection, role="admin")}
    async with site.client.post("/api/keys", data={"name": "x"}, headers=key) as answer:
        await refused(answer, 415)
    async with site.client.post("/api/keys", data=b"x" * 100_000, headers=key) as answer:
        await refused(answer, 413)
    typed = key | {"Content-Type": "application/json"}
    for document in (
        b"{",
        b"\xff",
        b"[]",
        b'{"name": 7}',
        b'{"name": "a\\u0000b"}',
        b'{"name": "a\\ud800b"}',
        b'{"name": "x", "y": 1}',
    ):
        async with site.client.post("/api/keys", data=document, headers=typed) as answer:
            await refused(answer, 422)


@pytest.mark.parametrize(
    "body", [b"email=a%00b@example.com&password=x", b"email=%ff%fe&password=%00", b"\xff\xfe=\xff"]
)
async def test_a_form_of_odd_bytes_is_refused_and_breaks_nothing(site: Site, body: bytes) -> None:
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    token = await site.csrf_token()
    async with site.client.post(
        "/login", data=body + f"&csrf_token={token}".encode(), headers=head
    ) as answer:
        assert answer.status in {400, 401, 403}


@pytest.mark.parametrize(
    ("path", "kind", "charset", "body"),
    [
        ("/login", "application/x-www-form-urlencoded", "utf-7", b"csrf_token=+2AA-&email=a&password=b"),
        ("/login", "application/x-www-form-urlencoded", "unicode_escape", b"email=a&password=\\ud800"),
        ("/login", "application/x-www-form-urlencoded", "klingon", b"email=a&password=b"),
        ("/api/keys", "application/json", "utf-16", '{"name": "x"}'.encode("utf-16")),
    ],
)
async def test_a_charset_other_than_utf_8_is_refused(
    site: Site, path: str, kind: str, charset: str, body: bytes
) -> None:
    await site.csrf_token()
    head = {"Content-Type": f"{kind}; charset={charset}"}
    async with site.client.post(path, data=body, headers=head) as answer:
        await refused(answer, 415)


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "utf8"])
async def test_a_form_may_say_that_it_is_in_utf_8(site: Site, charset: str) -> None:
    head = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
    form = f"csrf_token={await site.csrf_token()}&email=ä@example.com&password=wrong".encode()
    async with site.client.post("/login", data=form, headers=head) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("path", "coding", "status"),
    [("/login", "gzip", 415), ("/login", "br", 415), ("/api/keys", "gzip", 415), ("/login", "identity", 403)],
)
async def test_a_compressed_body_is_refused_unread(site: Site, path: str, coding: str, status: int) -> None:
    head = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": coding}
    async with site.client.post(path, data=b"csrf_token=x", headers=head, compress=False) as answer:
        await refused(answer, status)


async def test_a_body_that_is_announced_as_too_large_is_not_waited_for(site: Site) -> None:
    async with waited_for(site, b"Content-Length: 1000000000\r\n") as (reader, _):
        assert (await reader.readline())[9:13] == b"413 "


async def test_a_visitor_who_disconnects_is_not_logged_as_a_database_outage(site: Site) -> None:
    with capture_logs() as logged:
        async with waited_for(site, b"Content-Length: 5\r\n") as (_, writer):
            writer.transport.abort()
        await eventually(lambda: any(entry["event"] == "request.served" for entry in logged))
    assert not [entry for entry in logged if "database_away" in entry["event"]]


async def test_a_visitor_is_told_which_limit_passed_when_all_sessions_are_in_use(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_pool, "CONNECTION_SECONDS_MAX", 0.05)
    pool = site.app[POOL]
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(pool.get_max_size()):
            await stack.enter_async_context(pool.acquire())
        with capture_logs() as logged:
            problem = await refused(await site.get("/api/incidents/1"), 503)
    limit = "o session of the database was free within 0.05 s"
    assert problem["detail"] == f"N{limit}. Try again in a few seconds."
    assert [each["error"] for each in logged if each["event"] == "request.database_away"] == [f"n{limit}"]


async def test_a_visitor_is_told_which_limit_passed_when_an_answer_takes_too_long(
    site: Site, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incident_pages, "_SECONDS_MAX", 0.1)
    async with connection.transaction():
        await connection.execute("lock incidents")
        problem = await refused(await site.get("/incidents/1"), 503)
    assert problem["detail"] == "The database did not answer within 0.1 s. Try again in a few seconds."


async def test_a_database_address_is_in_the_log_and_not_in_the_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_: object) -> object:
        raise DatabaseUnavailable("The database at 10.0.0.7:5432/secret cannot be reached")

    monkeypatch.setattr(health, "HealthDocument", away)
    problem = await refused(await site.get("/api/health"), 503)
    assert problem["detail"] == "The database cannot be reached at the moment. Try again in a few seconds."


@contextlib.asynccontextmanager
async def waited_for(
    site: Site, framing: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Send the head of a form, and go on when the server waits for the form itself."""
    reader, writer = await asyncio.open_connection(site.client.host, site.client.port)
    head = b"POST /login HTTP/1.1\r\nHost: here\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    writer.write(head + b"Expect: 100-continue\r\n" + framing + b"\r\n")
    try:
        async with time_limit("the server said nothing"):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            yield reader, writer
    finally:
        writer.transport.abort()


async def test_an_expectation_that_cannot_be_met_is_refused_as_a_problem(site: Site) -> None:
    async with site.client.post("/login", data={}, headers={"Expect": "<b>miracles"}) as answer:
        problem = await refused(answer, 417)
    assert "miracles" not in problem["detail"]


async def test_a_long_address_and_a_long_header_are_refused(site: Site) -> None:
    for request in (
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(500)) + b"\r\n",
    ):
        answer = await site.raw(request)
        assert answer[9:12] in {b"400", b"431"}, answer[:80]
        assert b"aaaa" not in answer


async def test_the_cause_of_an_internal_error_is_in_the_log_and_not_in_the_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(health, "HealthDocument", broken)
    problem = await refused(await site.get("/api/health"), 500)
    assert "hunter2" not in str(problem)
    page = await site.get("/api/health", accept="text/html, */*")
    assert "hunter2" not in await page.text()


@pytest.mark.parametrize(
    "path",
    ["/status", "/about", "/api/docs", "/api/openapi.json", "/static/none/none", "/static/none/site.css"],
)
async def test_an_answer_is_compressed_for_those_who_take_it(site: Site, path: str) -> None:
    plain = await site.get(path, accept="text/html, */*", accept_encoding="identity")
    for refusing in ("identity", "gzip;q=0", "gzip;q=0, br", "x-gzipped", "deflate", "br"):
        answer = await site.get(path, accept="text/html, */*", accept_encoding=refusing)
        assert "Content-Encoding" not in answer.headers, refusing
        assert "Accept-Encoding" in answer.headers["Vary"]
    for taking in ("gzip", "br, gzip", "br, gzip;q=0.5"):
        answer = await site.get(path, accept="text/html, */*", accept_encoding=taking)
        assert answer.headers["Content-Encoding"] == "gzip", taking
        assert answer.content_type == plain.content_type
        assert int(answer.headers["Content-Length"]) < len(await plain.read())


async def test_metrics_need_the_token_when_one_is_set(open_site: OpenSite) -> None:
    site = await open_site(metrics_token="monitoring-0123456789")
    await refused(await site.get("/metrics"), 401)
    await refused(await site.get("/metrics", authorization="Bearer wrong"), 401)
    odd = b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\nAuthorization: Bearer \xff\r\n\r\n"
    assert (await site.raw(odd))[9:13] == b"401 "
    assert (await site.get("/metrics", authorization="Bearer monitoring-0123456789")).status == 200


async def test_metrics_without_a_token_are_for_direct_connections_only(open_site: OpenSite) -> None:
    site = await open_site(trusted_proxies="127.0.0.1")
    assert (await site.get("/metrics")).status == 200
    await refused(await site.get("/metrics", x_forwarded_for="198.51.100.7"), 403)
    await refused(await site.get("/metrics", x_forwarded_for="10.0.0.7"), 403)
