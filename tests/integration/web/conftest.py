"""The web service for a test: with the default settings, or with its own; in the database as its own role."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import asyncpg
import pytest
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher

from containerstacks_shared.fleet import passwords
from support import fleet, roles, web_site
from support.web_site import OpenSite, Site

EMAIL = "ada@example.com"


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of sign-ins at their real cost would take minutes; `tests/unit/test_passwords.py` is about that."""
    argon2, bcrypt = Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1), BcryptHasher(rounds=4)
    monkeypatch.setattr(passwords, "_ARGON2", argon2)
    monkeypatch.setattr(passwords, "_BCRYPT", bcrypt)
    monkeypatch.setattr(passwords, "_HASHERS", (argon2, bcrypt))


@pytest.fixture
async def open_site(database_url: str) -> AsyncIterator[OpenSite]:
    address = roles.as_role(database_url, roles.WEB)
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(*, without: Iterable[str] = ("builtin_billing",), **settings: Any) -> Site:
            return await stack.enter_async_context(web_site.open_site(address, without=without, **settings))

        yield open_one


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    return await open_site()


@pytest.fixture
async def signed_in(site: Site, connection: asyncpg.Connection) -> Site:
    """Give the site with an administrator signed in."""
    await fleet.add_user(connection, email=EMAIL, role="admin")
    await site.sign_in(EMAIL)
    return site


@pytest.fixture
async def key(connection: asyncpg.Connection) -> str:
    """Give an API key of an administrator."""
    return await web_site.add_api_key(connection, role="admin")
