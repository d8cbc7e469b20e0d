"""Secrets are in no answer to anonymous visitors, and in no log."""

import asyncio
import logging
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from containerstacks_shared.core.log import configure_logging
from containerstacks_shared.core.settings import load_settings
from containerstacks_shared.database.db import Connection
from containerstacks_web.settings import WebSettings
from support import fleet, web_site
from support.examples import examples
from support.waiting import eventually
from support.web_site import OpenSite, Site

PAGES: Final = (
    "/",
    "/status",
    "/about",
    "/login",
    "/api/health",
    "/api/health/stats",
    "/api/health/billing-daemon",
    "/api/health/platform-stats",
    "/api/status/components",
    "/api/incidents",
    "/api/incidents/1",
    "/api/billing/runs",
    "/api/keys",
    "/api/openapi.json",
    "/api/docs",
    "/healthz",
    "/readyz",
    "/metrics",
    "/nothing",
)
SETTINGS: Final = {
    "session_secret": "session-secret-" + "s" * 32,
    "jwt_secret": "jwt-secret-0123456789",
    "metrics_token": "metrics-token-0123456789",
    "alert_urls": "mailto://operator:alert-password@example.com",
}


@dataclass
class Secrets:
    """Values that are in the database and in no other place."""

    values: list[str] = field(default_factory=list)

    def new(self, kind: str) -> str:
        value = f"{kind}{secrets.token_hex(6)}"
        self.values.append(value)
        return value

    def found_in(self, text: str) -> list[str]:
        return [value for value in self.values if value.lower() in text.lower()]


async def seed(connection: Connection) -> Secrets:
    """Fill every column that is somebody's own with a value to look for."""
    kept = Secrets()
    organization = await fleet.add_organization(connection, balance="7351.13572468")
    plan = await fleet.add_plan(
        connection, base_price="8642.97531", region=kept.new("region"), provider_plan_id=kept.new("plan")
    )
    instance = await fleet.add_instance(
        connection, organization, plan, label=kept.new("label"), hours_due=3, region=kept.new("where")
    )
    broken = await fleet.add_plan(connection, specifications={"vcpus": kept.new("broken")})
    await fleet.add_user(connection, email=f"{kept.new('mail')}@example.com", role="admin")
    key = await web_site.add_api_key_of(connection, organization.owner_id)
    kept.values += [key, str(organization.id), str(organization.owner_id), str(organization.wallet_id)]
    kept.values += [str(instance), str(plan.id), str(broken.id), "7351.13", "8642.97", "203.0.113."]
    await connection.execute("update users set name = $1", kept.new("name"))
    await connection.execute("update organizations set name = $1", kept.new("company"))
    await connection.execute(
        "insert into billing_runs"
        " (biller, trigger, holder, term, status, finished_at, amount_billed, error_message)"
        " values ('daemon', 'schedule', $1, 1, 'failed', clock_now(), 4711.08154711, $2)",
        kept.new("host"),
        kept.new("failure"),
    )
    kept.values.append("4711.08")
    await connection.execute(
        "insert into incidents (kind, title, impact, status, components)"
        " values ('incident', 'Slow disks', 'minor', 'investigating', '{vps}')"
    )
    await connection.execute(
        "insert into incident_updates (incident_id, status, body, author)"
        " select id, 'investigating', 'We are looking into it.', $1 from incidents",
        kept.new("author"),
    )
    return kept


HEADERS: Final = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.sampled_from(["text/html", "*/*", "application/json", "text/html,*/*;q=0.1"]),
        "Accept-Encoding": st.sampled_from(["gzip", "identity", "deflate"]),
        "Cookie": st.sampled_from(["theme=dark", "containerstacks_session=" + "x" * 43, "role=admin"]),
        "X-Forwarded-For": st.sampled_from(["127.0.0.1", "10.0.0.1, ::1"]),
        "X-Forwarded-Host": st.just("evil.example"),
        "X-HTTP-Method-Override": st.just("DELETE"),
        "If-None-Match": st.sampled_from(['W/"1"', '"x"']),
        "Origin": st.just("https://evil.example"),
        "Authorization": st.sampled_from(
            ["Bearer sk_live_x", "Basic YWRtaW46YWRtaW4=", "Bearer e30.e30.e30"]
        ),
    },
)
QUERIES: Final = st.dictionaries(
    st.sampled_from(["role", "admin", "topics", "limit", "before", "debug", "details", "next", "user_id"]),
    st.sampled_from(["1", "true", "admin", "details", "' or 1=1 --", "../../etc/passwd", "{{7*7}}", "\x00"]),
    max_size=3,
)


@pytest.mark.hypothesis
async def test_no_anonymous_answer_holds_a_secret(open_site: OpenSite, connection: Connection) -> None:
    site = await open_site(
        rate_limit_anonymous="1000000/minute", rate_limit_public="1000000/minute", **SETTINGS
    )
    kept = await seed(connection)
    kept.values += [value.rpartition("://")[2] for value in SETTINGS.values()]
    await eventually(lambda: site.version > 3)
    # The secrets are really there: an administrator sees them.
    admin = await web_site.add_api_key(connection, role="admin")
    details = ""
    for path in ("/api/health/stats", "/api/health/billing-daemon", "/api/keys"):
        details += await (await site.get(path, x_api_key=admin)).text()
    assert len(kept.found_in(details)) >= 5

    base_url = str(site.client.make_url("")).rstrip("/")

    @examples(150)
    @given(
        path=st.sampled_from(PAGES),
        method=st.sampled_from(["GET", "GET", "HEAD", "OPTIONS", "POST", "PUT"]),
        headers=HEADERS,
        query=QUERIES,
    )
    def holds(path: str, method: str, headers: dict[str, str], query: dict[str, str]) -> None:
        answer = requests.request(
            method, base_url + path, headers=headers, params=query, allow_redirects=False, timeout=10
        )
        assert answer.status_code < 500
        assert kept.found_in(answer.text + str(answer.headers)) == []

    for path in PAGES:
        for accept in ("*/*", "text/html"):
            answer = await site.get(path, accept=accept)
            assert kept.found_in(await answer.text() + str(answer.headers)) == [], path
    # In a thread: the server answers on this one.
    await asyncio.to_thread(holds)
    async with site.client.ws_connect("/ws/status?topics=status,incidents") as browser:
        for _ in range(2):
            assert kept.found_in(await browser.receive_str(timeout=8)) == []


@pytest.mark.parametrize("log_format", ["console", "json"])
async def test_a_visitor_cannot_forge_a_log_line(
    open_site: OpenSite, capfd: pytest.CaptureFixture[str], log_format: str
) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    configure_logging("info", log_format, service="web")
    try:
        site = await open_site()
        evil = "/%0a2026-01-01 [info] sign_in.accepted role=admin%0d%1b[2J%1b]0;owned%07%c2%9b31m%e2%80%a8"
        await site.client.get(URL(evil, encoded=True))
        await site.sign_in("eve@example.com\r\nsign_in.accepted", "wrong")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    lines = capfd.readouterr().err.split("\n")
    assert not [line for line in lines if line.startswith("2026-01-01")]
    assert [line for line in lines if "request.served" in line]
    assert not [line for line in lines if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line)]


async def test_passwords_and_keys_are_in_no_log_line(
    open_site: OpenSite, connection: Connection, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await fleet.add_user(connection, email="ada@example.com", role="admin")
    site: Site = await open_site()
    await site.sign_in("ada@example.com", "hunter2-hunter2")
    await site.sign_in("ada@example.com")
    await site.get("/api/keys", x_api_key=key)
    await site.get("/api/keys", authorization=f"Bearer {key}0")
    cookie = site.session_cookie
    assert cookie is not None
    captured = capfd.readouterr()
    for secret in (key, "hunter2", fleet.PASSWORD, cookie):
        assert secret not in captured.out + captured.err


def test_settings_show_no_secret() -> None:
    loaded = load_settings(
        WebSettings,
        database_url="postgresql://u:database-password@h/d",
        redis_url="redis://:redis-password@h",
        **SETTINGS,
    )
    shown = repr(loaded) + str(loaded) + loaded.model_dump_json()
    for secret in (*SETTINGS.values(), "database-password", "redis-password"):
        assert secret not in shown
