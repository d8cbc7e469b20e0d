"""API keys and the original application's tokens: a wrong credential in a header is refused everywhere."""

import time
from uuid import UUID, uuid4

import jwt
import pytest

from containerstacks_shared.database.db import Connection
from containerstacks_web.database import LISTENER
from support import fleet, web_site
from support.waiting import eventually
from support.web_site import OpenSite, Site

SECRET = "the-secret-of-the-original-application"
EVERYWHERE = (
    "/",
    "/status",
    "/about",
    "/login",
    "/api/health",
    "/api/health/stats",
    "/api/health/billing-daemon",
    "/api/health/platform-stats",
    "/api/openapi.json",
    "/api/docs",
    "/ws/status",
    "/nothing",
)
WRONG = (
    {"x_api_key": "sk_live_" + "0" * 64},
    {"x_api_key": "something"},
    {"x_api_key": ""},
    {"authorization": "Bearer sk_live_" + "0" * 64},
    {"authorization": "Bearer not.a.token"},
    {"authorization": "Basic YWRhOnNlY3JldA=="},
    {"authorization": "Bearer"},
)


def token_of(user_id: UUID, *, secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    """Sign a token as the original application does."""
    now = int(time.time())
    values = {"userId": str(user_id), "email": "a@example.com", "iat": now, "exp": now + 3600} | claims
    return jwt.encode(values, secret, algorithm=algorithm)


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_a_wrong_credential_is_refused_everywhere(site: Site, path: str) -> None:
    for headers in WRONG:
        answer = await site.get(path, **headers)
        assert answer.status == 401, headers
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "header",
    [
        b"X-API-Key: sk_live_\xff\xfe",
        b"Authorization: Bearer sk_live_\xff",
        b"Authorization: Bearer \xff.\xff.\xff",
        "X-API-Key: sk_live_ä".encode(),
    ],
)
async def test_a_credential_of_odd_bytes_is_refused(open_site: OpenSite, header: bytes) -> None:
    site = await open_site(jwt_secret=SECRET)
    answer = await site.raw(
        b"GET /status HTTP/1.1\r\nHost: here\r\nConnection: close\r\n" + header + b"\r\n\r\n"
    )
    assert answer[9:13] == b"401 "


async def test_probes_ask_for_no_credential(site: Site) -> None:
    await eventually(lambda: site.app[LISTENER].connected)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await site.get(path, x_api_key="wrong")).status == 200


async def test_an_api_key_works_in_either_header(site: Site, key: str) -> None:
    assert await site.sees_details(x_api_key=key)
    assert await site.sees_details(authorization=f"Bearer {key}")


async def test_a_key_of_the_original_application_works(site: Site, connection: Connection) -> None:
    user_id = await fleet.add_user(connection, role="admin")
    await connection.execute(
        "insert into user_api_keys (user_id, key_name, key_hash, key_prefix)"
        " values ($1, 'theirs', encode(sha256('sk_live_abc'::bytea), 'hex'), 'sk_live_abc')",
        user_id,
    )
    assert await site.sees_details(x_api_key="sk_live_abc")


@pytest.mark.parametrize(
    "change", ["active = false", "active = null", "expires_at = now() - interval '1 second'"]
)
async def test_an_inactive_or_expired_key_is_refused(site: Site, connection: Connection, change: str) -> None:
    key = await web_site.add_api_key(connection, role="admin")
    await connection.execute(f"update user_api_keys set {change}")
    assert (await site.get("/api/health", x_api_key=key)).status == 401


async def test_a_good_and_a_wrong_credential_together_are_refused(site: Site, key: str) -> None:
    assert (await site.get("/api/health", x_api_key=key, authorization="Bearer x.y.z")).status == 401


async def test_a_token_of_the_original_application_is_accepted(
    open_site: OpenSite, connection: Connection
) -> None:
    site = await open_site(jwt_secret=SECRET)
    user_id = await fleet.add_user(connection, role="admin")
    token = token_of(user_id)
    assert await site.sees_details(authorization=f"Bearer {token}")
    # The original application does not look at the first word, and its front ends may say anything there.
    assert await site.sees_details(authorization=f"Token {token}")


async def test_the_role_is_read_from_the_table(open_site: OpenSite, connection: Connection) -> None:
    site = await open_site(jwt_secret=SECRET)
    user_id = await fleet.add_user(connection, role="user")
    token = token_of(user_id, role="admin")
    assert not await site.sees_details(authorization=f"Bearer {token}")
    await connection.execute("update users set role = 'admin'")
    assert await site.sees_details(authorization=f"Bearer {token}")


async def test_tokens_that_the_original_application_did_not_sign_are_refused(
    open_site: OpenSite, connection: Connection
) -> None:
    site = await open_site(jwt_secret=SECRET)
    user_id = await fleet.add_user(connection, role="admin")
    now = int(time.time())
    for token in (
        token_of(user_id, exp=now - 1),
        # Theirs all end.
        jwt.encode({"userId": str(user_id)}, SECRET),
        token_of(user_id, secret="another-secret-that-is-long-enough-too"),
        token_of(uuid4()),
        token_of(user_id, userId="admin"),
        jwt.encode({"email": "a@example.com", "exp": now + 60}, SECRET),
        jwt.encode({"userId": str(user_id)}, None, algorithm="none"),
    ):
        assert (await site.get("/api/health", authorization=f"Bearer {token}")).status == 401, token


async def test_tokens_are_refused_when_no_secret_is_set(site: Site, connection: Connection) -> None:
    user_id = await fleet.add_user(connection, role="admin")
    assert (await site.get("/api/health", authorization=f"Bearer {token_of(user_id)}")).status == 401


async def test_a_short_secret_of_the_original_application_works(
    open_site: OpenSite, connection: Connection
) -> None:
    site = await open_site(jwt_secret="short")
    user_id = await fleet.add_user(connection, role="admin")
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        token = token_of(user_id, secret="short")
    assert await site.sees_details(authorization=f"Bearer {token}")
