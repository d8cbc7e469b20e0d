"""A changed password ends the old one and every other session; guesses are limited."""

import asyncpg
import pytest

from support import fleet
from support.web_site import OpenSite, Site

EMAIL = "grace@example.com"
NEW = "a longer and newer password"


async def change(
    site: Site, *, current: str = fleet.PASSWORD, new: str = NEW, again: str = NEW
) -> tuple[int, str]:
    answer = await site.send_form("/account/password", current=current, new=new, again=again)
    return answer.status, answer.headers.get("Location") or await answer.text()


@pytest.fixture
async def signed_in(site: Site, connection: asyncpg.Connection) -> Site:
    await fleet.add_user(connection, email=EMAIL)
    await site.sign_in(EMAIL)
    return site


async def test_a_new_password_replaces_the_old_one_and_ends_other_sessions(
    signed_in: Site, open_site: OpenSite, connection: asyncpg.Connection
) -> None:
    elsewhere = await open_site()
    await elsewhere.sign_in(EMAIL)
    assert 'href="/account/password"' in await (await signed_in.get("/account")).text()
    cookie = signed_in.session_cookie
    assert await change(signed_in) == (303, "/account")
    assert signed_in.session_cookie != cookie
    assert "Password changed." in await (await signed_in.get("/account")).text()
    assert (await elsewhere.get("/account")).status == 303
    another = await open_site()
    assert (await another.sign_in(EMAIL)).status == 401
    assert (await another.sign_in(EMAIL, NEW)).status == 303
    assert await connection.fetchval("select count(*) from action_log where action = 'password changed'") == 1


async def test_a_wrong_form_is_refused_with_its_reason_and_changes_nothing(
    signed_in: Site, connection: asyncpg.Connection
) -> None:
    before = await connection.fetchval("select password_hash from users")
    for typed, reason in (
        ({"current": "wrong"}, "This is not your password."),
        ({"new": "short", "again": "short"}, "Use 8 to 1024 characters."),
        ({"again": "something else"}, "This is not the same as above."),
    ):
        status, text = await change(signed_in, **typed)
        assert (status, reason in text) == (422, True)
    answer = await signed_in.client.post(
        "/account/password", data={"current": fleet.PASSWORD, "new": NEW, "again": NEW}
    )
    assert answer.status == 403
    for _ in range(9):
        await change(signed_in, current="wrong")
    assert (await change(signed_in))[0] == 429
    assert await connection.fetchval("select password_hash from users") == before


async def test_anonymous_visitors_are_sent_to_sign_in(site: Site) -> None:
    answer = await site.get("/account/password")
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=/account/password")
    form = {"current": fleet.PASSWORD, "new": NEW, "again": NEW}
    assert (await site.client.post("/account/password", data=form, allow_redirects=False)).status == 303


async def test_beside_the_application_passwords_are_changed_only_there(
    signed_in: Site, connection: asyncpg.Connection
) -> None:
    # What the application's schema has and this project's does not; the embedded server has no such extension.
    await connection.execute(
        "insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
        " values (999999, 'uuid-ossp', 10, 11, false, '1')"
    )
    assert "change it there" in await (await signed_in.get("/account")).text()
    assert "change it there" in await (await signed_in.get("/account/password")).text()
    before = await connection.fetchval("select password_hash from users")
    status, text = await change(signed_in)
    assert (status, "change it there" in text) == (422, True)
    assert await connection.fetchval("select password_hash from users") == before
