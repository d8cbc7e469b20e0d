"""Signing in and out: sessions on the server, forms with a token, hashes that get stronger."""

from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp_session import Session

from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet.passwords import hash_password
from containerstacks_shared.schema import migrate
from containerstacks_web.http.rate_limiting import RATE_LIMITER
from containerstacks_web.pages import sign_in
from containerstacks_web.pages.sign_in import GUESSES, GUESSES_NAME
from containerstacks_web.sign_in.sessions import DatabaseSessionStorage
from support import databases, fleet, roles
from support.web_site import SESSION_COOKIE, Site, open_site

EMAIL = "ada@example.com"


async def password_hash(connection: Connection) -> str:
    stored: str = await connection.fetchval("select password_hash from users where email = $1", EMAIL)
    return stored


async def test_an_administrator_signs_in_and_sees_details(site: Site, connection: Connection) -> None:
    await fleet.add_user(connection, email=EMAIL, role="admin")
    assert not await site.sees_details()
    answer = await site.sign_in(EMAIL)
    assert answer.status == 303
    assert answer.headers["Location"] == "/status"
    assert await site.sees_details()


async def test_the_cookie_is_kept_from_scripts_and_other_sites(site: Site, connection: Connection) -> None:
    await fleet.add_user(connection, email=EMAIL)
    cookie = (await site.sign_in(EMAIL)).cookies[SESSION_COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["secure"]


async def test_the_database_does_not_hold_the_token(site: Site, connection: Connection) -> None:
    user_id = await fleet.add_user(connection, email=EMAIL)
    await site.sign_in(EMAIL)
    (row,) = await connection.fetch("select user_id, token_hash from web_sessions")
    assert row["user_id"] == user_id
    assert site.session_cookie is not None
    assert site.session_cookie not in row["token_hash"]


async def test_signing_in_starts_a_new_session(site: Site, connection: Connection) -> None:
    await fleet.add_user(connection, email=EMAIL)
    await site.csrf_token()
    planted = site.session_cookie
    await site.sign_in(EMAIL)
    assert planted is not None
    assert site.session_cookie != planted
    assert await connection.fetchval("select count(*) from web_sessions") == 1


async def test_a_wrong_password_and_an_unknown_address_look_the_same(
    site: Site, connection: Connection
) -> None:
    await fleet.add_user(connection, email=EMAIL)
    pages = []
    for email, password in ((EMAIL, "wrong"), ("nobody@example.com", fleet.PASSWORD)):
        answer = await site.sign_in(email, password)
        assert answer.status == 401
        assert answer.content_type == "text/html"
        pages.append((await answer.text()).replace(email, ""))
    assert "wrong" in pages[0]
    assert pages[0].count("csrf_token") == pages[1].count("csrf_token") == 1
    assert await connection.fetchval("select count(user_id) from web_sessions") == 0


async def test_a_form_without_its_token_is_refused(site: Site, connection: Connection) -> None:
    await fleet.add_user(connection, email=EMAIL)
    forged = {"email": EMAIL, "password": fleet.PASSWORD}
    for form in (forged, forged | {"csrf_token": "guessed"}):
        async with site.client.post("/login", data=form, allow_redirects=False) as answer:
            assert answer.status == 403
    # The token of one session is no good in another.
    token = await site.csrf_token()
    site.client.session.cookie_jar.clear()
    async with site.client.post(
        "/login", data=forged | {"csrf_token": token}, allow_redirects=False
    ) as answer:
        assert answer.status == 403


async def test_signing_out_ends_the_session_on_the_server(signed_in: Site, connection: Connection) -> None:
    token = signed_in.session_cookie
    form = await csrf_token_of(connection)
    async with signed_in.client.post("/logout", data={"csrf_token": form}, allow_redirects=False) as answer:
        assert answer.status == 303
    assert signed_in.session_cookie is None
    assert await connection.fetchval("select count(*) from web_sessions") == 0
    # The old cookie makes an anonymous visitor, who is not refused.
    assert not await signed_in.sees_details(cookie=f"{SESSION_COOKIE}={token}")


async def test_signing_out_needs_the_token_too(signed_in: Site) -> None:
    async with signed_in.client.post("/logout", allow_redirects=False) as answer:
        assert answer.status == 403
    assert await signed_in.sees_details()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("update web_sessions set expires_at = now() - interval '1 second'", id="expired"),
        pytest.param("update users set role = 'user'", id="role taken away"),
        pytest.param("delete from users", id="user deleted"),
    ],
)
async def test_a_session_loses_its_rights_at_once(
    signed_in: Site, connection: Connection, change: str
) -> None:
    assert await signed_in.sees_details()
    await connection.execute(change)
    assert not await signed_in.sees_details()


@pytest.mark.parametrize("value", [b"x" * 43, b"\xff" * 43, b'"' + b"\xff" * 43 + b'"', b""])
async def test_a_cookie_of_odd_bytes_is_anonymous(site: Site, value: bytes) -> None:
    head = b"GET /about HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
    answer = await site.raw(head + b"Cookie: %s=%s\r\n\r\n" % (SESSION_COOKIE.encode(), value))
    assert answer[9:13] == b"200 "


async def test_a_changed_password_ends_the_sessions_of_the_old_one(
    signed_in: Site, connection: Connection
) -> None:
    assert await signed_in.sees_details()
    # As the original application does it, when somebody resets a password.
    await connection.execute("update users set password_hash = $1", hash_password("another-password"))
    assert not await signed_in.sees_details()
    signed_in.client.session.cookie_jar.clear()
    assert (await signed_in.sign_in(EMAIL, "another-password")).status == 303
    assert await signed_in.sees_details()


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("delete from web_sessions", id="signed_out"),
        pytest.param("update users set password_hash = 'another'", id="password_changed"),
    ],
)
async def test_a_request_on_its_way_does_not_bring_an_ended_session_back(
    signed_in: Site, connection: Connection, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    # A page that shows a message takes it out of the session, and so saves it.
    await connection.execute('update web_sessions set data = data || \'{"message": "Done."}\'')
    load = DatabaseSessionStorage.load_session

    async def load_before_the_end(storage: DatabaseSessionStorage, request: web.Request) -> Session:
        session = await load(storage, request)
        await connection.execute(end)
        return session

    with monkeypatch.context() as patched:
        patched.setattr(DatabaseSessionStorage, "load_session", load_before_the_end)
        assert "Done." in await (await signed_in.get("/account")).text()
    assert not await signed_in.sees_details()


async def test_a_password_that_changes_during_a_sign_in_ends_its_session(
    site: Site, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.add_user(connection, email=EMAIL, role="admin")
    begin = sign_in.begin_session

    async def begin_after_a_change(*arguments: Any, **options: Any) -> None:
        await connection.execute("update users set password_hash = $1", hash_password("another-password"))
        await begin(*arguments, **options)

    monkeypatch.setattr(sign_in, "begin_session", begin_after_a_change)
    await site.sign_in(EMAIL)
    assert not await site.sees_details()


async def test_bcrypt_becomes_argon2id_at_sign_in(site: Site, connection: Connection) -> None:
    await fleet.add_user(connection, email=EMAIL)
    assert (await password_hash(connection)).startswith("$2b$")
    assert (await site.sign_in(EMAIL)).status == 303
    stronger = await password_hash(connection)
    assert stronger.startswith("$argon2id$")
    site.client.session.cookie_jar.clear()
    assert (await site.sign_in(EMAIL)).status == 303
    assert await password_hash(connection) == stronger


async def test_the_original_application_can_still_read_the_hash(site: Site, connection: Connection) -> None:
    # Its schema needs this extension and ours does not; the embedded server does not have it to install.
    await connection.execute("set allow_system_table_mods = on")
    await connection.execute(
        "insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
        " select 99999, 'uuid-ossp', extowner, extnamespace, true, '1.1' from pg_extension limit 1"
    )
    await fleet.add_user(connection, email=EMAIL)
    assert (await site.sign_in(EMAIL)).status == 303
    assert (await password_hash(connection)).startswith("$2b$")


async def test_an_adopted_user_keeps_the_hash_that_the_application_can_read(schema_a_url: str) -> None:
    migrate(schema_a_url)
    roles.grant(schema_a_url)
    async with (
        databases.open_pool(schema_a_url) as pool,
        pool.acquire() as connection,
        open_site(roles.as_role(schema_a_url, roles.WEB), without=["builtin_billing"]) as site,
    ):
        await fleet.add_user(connection, email=EMAIL)
        before = await password_hash(connection)
        assert (await site.sign_in(EMAIL)).status == 303
        assert await password_hash(connection) == before
        assert "change it there" in await site.page("/account")


async def test_guessing_is_stopped(site: Site, connection: Connection) -> None:
    await fleet.add_user(connection, email=EMAIL)
    for _ in range(GUESSES.amount - 1):
        # As many guesses by hand would take the test a second each ten.
        await site.app[RATE_LIMITER].hit(GUESSES_NAME, GUESSES, "127.0.0.1 nobody@example.com")
    assert (await site.sign_in("nobody@example.com", "guess")).status == 401
    assert (await site.sign_in("Nobody@example.com", "guess")).status == 429
    # Another account from the same address is not locked.
    assert (await site.sign_in(EMAIL)).status == 303


async def test_a_session_survives_its_web_process(signed_in: Site, database_url: str) -> None:
    cookie = f"{SESSION_COOKIE}={signed_in.session_cookie}"
    async with open_site(database_url) as replica:
        assert await replica.sees_details(cookie=cookie)
    async with open_site(database_url, session_secret="another-secret-" * 4) as stranger:
        assert not await stranger.sees_details(cookie=cookie)


async def csrf_token_of(connection: Connection) -> str:
    (row,) = await connection.fetch("select data, user_id from web_sessions")
    assert isinstance(row["user_id"], UUID)
    token: str = row["data"]["csrf_token"]
    return token
