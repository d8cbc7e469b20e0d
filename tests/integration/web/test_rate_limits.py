"""Rate limits: by class and address, stated in headers, and never for probes or sockets."""

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs

from containerstacks_shared.database.db import Connection, Pool
from containerstacks_shared.fleet import api_keys
from containerstacks_web.http.request_limits import INVALID_CREDENTIALS
from containerstacks_web.sign_in.credential_marks import CREDENTIAL_MARKS, CredentialMarks
from support import fleet, web_site
from support.processes import free_port
from support.waiting import eventually, time_limit
from support.web_site import OpenSite, Site

PATH = "/api/health"
SOCKET_PATH = "/ws/status?topics=zz"
SECRET = "the-secret-of-the-original-application"


async def statuses(site: Site, times: int, **headers: str) -> list[int]:
    return [(await site.get(PATH, **headers)).status for _ in range(times)]


async def test_anonymous_visitors_have_a_limit_that_the_headers_state(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_anonymous="3/15 minutes")
    for remaining in (2, 1, 0):
        answer = await site.get(PATH)
        assert answer.status == 200
        assert answer.headers["RateLimit-Policy"] == '"anonymous";q=3;w=900'
        name, left, reset = answer.headers["RateLimit"].split(";")
        assert (name, left) == ('"anonymous"', f"r={remaining}")
        assert 890 <= int(reset.removeprefix("t=")) <= 900
    refused = await site.get(PATH)
    assert refused.status == 429
    assert refused.content_type == "application/problem+json"
    assert 890 <= int(refused.headers["Retry-After"]) <= 900
    problem = await refused.json()
    assert problem["status"] == 429
    assert "3 are allowed in 15 minutes" in problem["detail"]


async def test_each_refusal_names_its_own_request_and_has_the_headers_of_its_address(
    open_site: OpenSite,
) -> None:
    site = await open_site(rate_limit_anonymous="1/hour", rate_limit_public="1/hour")
    ids = []
    for path, policy in ((PATH, "DENY"), ("/embed", None), ("/nowhere", "DENY"), (PATH, "DENY")):
        for given in ({}, {"x_request_id": "given-by-a-proxy"}, {}):
            refused = await site.get(path, **given)
            if refused.status != 429:
                continue
            assert refused.headers.get("X-Frame-Options") == policy
            assert refused.headers["Cache-Control"] == "no-store"
            ids.append((await refused.json())["requestId"])
            assert refused.headers["X-Request-ID"] == ids[-1]
    assert ids.count("given-by-a-proxy") == 4
    assert len(set(ids)) == len(ids) - 3
    head = await site.client.head(PATH)
    assert head.status == 429
    assert await head.read() == b""


async def test_a_refused_person_gets_a_page(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_public="1/1 minute")
    await site.get("/status")
    refused = await site.get("/status", accept="text/html")
    assert refused.status == 429
    assert refused.content_type == "text/html"
    assert "Retry-After" in refused.headers


async def test_the_default_limits_are_the_original_ones(site: Site, connection: Connection) -> None:
    policies = [(await site.get(PATH)).headers["RateLimit-Policy"]]
    for role in ("user", "admin"):
        key = await web_site.add_api_key(connection, role=role)
        policies.append((await site.get(PATH, x_api_key=key)).headers["RateLimit-Policy"])
    assert policies == ['"anonymous";q=200;w=900', '"user";q=500;w=900', '"admin";q=1000;w=900']


async def test_each_class_has_its_own_limit(open_site: OpenSite, connection: Connection) -> None:
    site = await open_site(rate_limit_anonymous="1/hour", rate_limit_user="2/hour", rate_limit_admin="3/hour")
    user = await web_site.add_api_key(connection, role="user")
    another = await web_site.add_api_key(connection, role="user")
    admin = await web_site.add_api_key(connection, role="admin")
    assert await statuses(site, 2) == [200, 429]
    assert await statuses(site, 3, x_api_key=user) == [200, 200, 429]
    assert await statuses(site, 3, x_api_key=another) == [200, 200, 429]
    assert await statuses(site, 4, x_api_key=admin) == [200, 200, 200, 429]


async def test_invalid_credentials_have_a_limit_of_their_own(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_anonymous="2/hour")
    times = INVALID_CREDENTIALS.amount
    assert await statuses(site, times + 1, x_api_key="sk_live_guess") == [401] * times + [429]
    assert await statuses(site, 3) == [200, 200, 429]


def some_key() -> dict[str, str]:
    return {"x_api_key": f"sk_live_{secrets.token_hex(32)}"}


def some_session() -> dict[str, str]:
    return {"cookie": f"{web_site.SESSION_COOKIE}={secrets.token_urlsafe(32)}"}


@pytest.mark.parametrize(
    ("path", "credential", "status"),
    [(PATH, some_key, 401), ("/status", some_session, 200), (SOCKET_PATH, some_session, 400)],
)
async def test_beyond_their_limit_invalid_credentials_are_not_looked_up(
    open_site: OpenSite,
    connection: Connection,
    path: str,
    credential: Callable[[], dict[str, str]],
    status: int,
) -> None:
    site = await open_site(rate_limit_anonymous="1000/hour")
    for _ in range(INVALID_CREDENTIALS.amount):
        assert (await site.get(path, **credential())).status == status
    # The first one that is too many looks once, for all that come in the next seconds.
    assert (await site.get(path, **credential())).status == 429
    async with connection.transaction(), time_limit("a refusal asked the database"):
        await connection.execute("lock table user_api_keys, web_sessions in access exclusive mode")
        for headers in (some_key(), some_session()):
            for asked in (PATH, "/status", SOCKET_PATH):
                refused = await site.get(asked, **headers)
                assert refused.status == 429
                assert 1 <= int(refused.headers["Retry-After"]) <= 60
                assert "Cookie" in refused.headers["Vary"]
    assert await statuses(site, 1) == [200]


async def test_the_session_of_a_form_is_looked_up_no_more_often_than_anonymous_visitors_may_ask(
    open_site: OpenSite, connection: Connection
) -> None:
    times = INVALID_CREDENTIALS.amount + 10
    site = await open_site(rate_limit_anonymous=f"{times}/hour")
    await site.csrf_token()
    # The form itself was one of them.
    assert await statuses(site, times) == [200] * (times - 1) + [429]
    async with connection.transaction(), time_limit("a refusal asked the database"):
        await connection.execute("lock table web_sessions in access exclusive mode")
        assert await statuses(site, 1) == [429]


async def test_invalid_credentials_shut_out_no_valid_one_at_the_same_address(
    open_site: OpenSite, connection: Connection
) -> None:
    site = await open_site(rate_limit_anonymous="1000/hour", jwt_secret=SECRET)
    admin = await fleet.add_user(connection, email="ada@example.com", role="admin")
    await site.sign_in("ada@example.com")
    key = await web_site.add_api_key_of(connection, admin)
    revoked = await web_site.add_api_key_of(connection, admin)
    await connection.execute(
        "update user_api_keys set active = false where key_hash = $1",
        hashlib.sha256(revoked.encode()).hexdigest(),
    )
    claims = {"userId": str(admin), "exp": datetime.now(UTC) + timedelta(hours=1)}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    session = {"cookie": f"{web_site.SESSION_COOKIE}={site.session_cookie}"}
    for _ in range(INVALID_CREDENTIALS.amount + 5):
        await site.get(PATH, **some_key())
    forged = jwt.encode(claims, "guessed-" * 5, algorithm="HS256")
    for wrong in (some_key(), some_session(), {"x_api_key": revoked}, {"authorization": f"Bearer {forged}"}):
        site.client.session.cookie_jar.clear()
        assert (await site.get(PATH, **wrong)).status == 429
    for good in ({"x_api_key": key}, session, {"authorization": f"Bearer {token}"}):
        site.client.session.cookie_jar.clear()
        answer = await site.get("/api/keys", **good)
        assert answer.status == 200, await answer.text()
    # An anonymous visitor can still sign in, and continue.
    site.client.session.cookie_jar.clear()
    assert (await site.sign_in("ada@example.com")).status == 303
    assert (await site.get("/admin/keys", accept="text/html")).status == 200


async def test_sessions_are_not_remembered_while_no_address_is_out_of_credentials(site: Site) -> None:
    for _ in range(3):
        site.client.session.cookie_jar.clear()
        assert (await site.get("/login", accept="text/html")).status == 200
    marks = site.app[CREDENTIAL_MARKS]._marks
    assert marks.forms | marks.signed_in == set()


@pytest.mark.parametrize("signed_in", [True, False])
async def test_a_session_that_begins_while_the_marks_are_read_is_known(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, signed_in: bool
) -> None:
    marks = CredentialMarks(pool)
    read_keys = api_keys.read_marks

    async def read_keys_after_a_session_began(*arguments: Any, **options: Any) -> set[str]:
        marks.note_session("begun", signed_in=signed_in)
        return await read_keys(*arguments, **options)

    monkeypatch.setattr(api_keys, "read_marks", read_keys_after_a_session_began)
    assert await (marks.knows_signed_in if signed_in else marks.knows_form)("begun")


async def test_valid_credentials_do_not_use_up_the_limit_of_others(
    open_site: OpenSite, connection: Connection
) -> None:
    site = await open_site(rate_limit_user="1000/hour")
    key = await web_site.add_api_key(connection, role="user")
    times = INVALID_CREDENTIALS.amount + 1
    assert await statuses(site, times, x_api_key=key) == [200] * times


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", PATH, {"Accept": "application/xml"}, 406),
        ("GET", PATH, {"Host": "a/b"}, 400),
        ("OPTIONS", PATH, {"Origin": "https://a.example"}, 204),
        ("OPTIONS", "/api/nothing", {"Origin": "https://a.example"}, 404),
        ("POST", "/login", {"Origin": "https://a.example", "Content-Type": "text/plain"}, 415),
        ("POST", "/login", {"Origin": "https://a.example", "Content-Length": "100000"}, 413),
    ],
)
async def test_refused_requests_count_towards_the_limit(
    open_site: OpenSite, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    site = await open_site(rate_limit_anonymous="2/hour")
    body = b"x" * int(headers.get("Content-Length", "1")) if method == "POST" else None
    answers = [
        await site.client.request(method, path, headers=headers, data=body, allow_redirects=False)
        for _ in range(3)
    ]
    assert [answer.status for answer in answers] == [status, status, 429]
    assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=1", "r=0", "r=0"]
    assert int(answers[-1].headers["Retry-After"]) > 3590
    assert "Cookie" in answers[-1].headers["Vary"]
    assert await statuses(site, 1) == [429]


async def test_preflights_have_a_count_of_their_own(open_site: OpenSite) -> None:
    panel = "https://panel.example.com"
    site = await open_site(rate_limit_anonymous="2/hour", cors_origins=panel)
    asked = {"Origin": panel, "Access-Control-Request-Method": "GET"}
    assert await statuses(site, 3) == [200, 200, 429]
    # The page behind it comes with a key, which has a limit of its own.
    preflights = [(await site.client.options(PATH, headers=asked)).status for _ in range(3)]
    assert preflights == [204, 204, 429]


async def test_a_flood_is_a_figure_and_no_page_of_lines(open_site: OpenSite, connection: Connection) -> None:
    site = await open_site(rate_limit_anonymous="1/hour", rate_limit_admin="1/hour")
    admin = {"x_api_key": await web_site.add_api_key(connection, role="admin")}
    with capture_logs() as lines:
        for headers in ({"accept": "application/xml"}, {"accept": "text/html"}, admin):
            await statuses(site, 3, **headers)
    served = [line for line in lines if line["event"] == "request.served"]
    assert {line["log_level"] for line in served if line["status"] == 429} == {"debug"}
    assert [line["status"] for line in served if line["log_level"] == "info"] == [406, 200]


async def is_ready(site: Site) -> bool:
    return (await site.get("/readyz")).status == 200


async def test_probes_sockets_and_files_are_not_counted(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_anonymous="1/hour")
    await eventually(lambda: is_ready(site))
    page = await (await site.get("/status", accept="text/html")).text()
    stylesheet = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    for path in ("/healthz", "/readyz", "/metrics", stylesheet) * 2:
        answer = await site.get(path)
        assert answer.status == 200
        assert "RateLimit" not in answer.headers
    for _ in range(3):
        async with site.client.ws_connect("/ws/status"):
            pass
    assert await statuses(site, 2) == [200, 429]


async def test_addresses_are_believed_from_trusted_proxies_only(open_site: OpenSite) -> None:
    careful = await open_site(rate_limit_anonymous="1/hour")
    assert await statuses(careful, 1, x_forwarded_for="203.0.113.1") == [200]
    assert await statuses(careful, 1, x_forwarded_for="203.0.113.2") == [429]
    behind = await open_site(rate_limit_anonymous="1/hour", trusted_proxies="127.0.0.0/8, 10.0.0.0/8")
    assert await statuses(behind, 2, x_forwarded_for="203.0.113.1") == [200, 429]
    assert await statuses(behind, 2, x_forwarded_for="203.0.113.2, 10.1.2.3") == [200, 429]
    # What a visitor wrote in front of what the proxy saw changes nothing.
    assert await statuses(behind, 1, x_forwarded_for="198.51.100.9, 203.0.113.1") == [429]


async def test_an_ipv6_network_is_one_visitor(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_anonymous="1/hour", trusted_proxies="127.0.0.1")
    assert await statuses(site, 1, x_forwarded_for="2001:db8:1:1::1") == [200]
    assert await statuses(site, 1, x_forwarded_for="[2001:db8:1:1:ffff::2]:4711") == [429]
    assert await statuses(site, 1, x_forwarded_for="2001:db8:1:2::1") == [200]


async def test_cookies_are_secure_behind_a_trusted_proxy_with_tls(open_site: OpenSite) -> None:
    site = await open_site(trusted_proxies="127.0.0.1")
    answer = await site.get("/login", accept="text/html", x_forwarded_proto="https")
    assert answer.cookies[web_site.SESSION_COOKIE]["secure"]
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    plain = await open_site()
    claimed = await plain.get("/login", accept="text/html", x_forwarded_proto="https")
    assert not claimed.cookies[web_site.SESSION_COOKIE]["secure"]


async def test_without_redis_each_process_counts_for_itself(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_anonymous="2/hour", redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert await statuses(site, 3) == [200, 200, 429]


async def test_a_refused_visitor_reads_how_long_to_wait(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_public="1/15 minutes", rate_limit_anonymous="1/30 seconds")
    await site.get("/about")
    refused = await site.get("/about", accept="text/html")
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 800
    assert "Try again in 15 minutes." in await refused.text()
    await site.get(PATH)
    soon = await site.get(PATH)
    assert f"Try again in {soon.headers['Retry-After']} seconds." in await soon.text()


async def test_a_whole_office_behind_one_address_sees_the_status_in_an_outage(open_site: OpenSite) -> None:
    site = await open_site(rate_limit_anonymous="1/hour")
    assert await statuses(site, 2) == [200, 429]
    paths = ("/status", "/about", "/status/feed.atom", "/status/maintenance.ics", "/badge/status.svg")
    for path in (*paths, "/api/v2/summary.json"):
        # By page and by program, read from memory or not.
        for accept in ("*/*", "text/html, */*"):
            answer = await site.get(path, accept=accept)
            assert answer.status == 200, path
            assert answer.headers["RateLimit-Policy"] == '"public";q=3000;w=60'
