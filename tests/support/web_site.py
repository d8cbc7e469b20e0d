"""The web service inside the test's own process: its application behind a client, with its jobs running."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from containerstacks_shared.core.settings import load_settings
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet import api_keys
from containerstacks_shared.fleet.permissions import STAFF_ROLES, set_staff_role
from containerstacks_shared.fleet.users import User, UserId, UserRole
from containerstacks_shared.process.http_connections import HEAD_SECONDS_MAX, GuardedRunner
from containerstacks_web.api.openapi import describe_api
from containerstacks_web.app import create_app, jobs
from containerstacks_web.builtin_billing import BUILTIN_BILLING
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.routes import ROUTES
from containerstacks_web.settings import WebSettings
from support import fleet
from support.jobs import running
from support.waiting import LIMIT_SECONDS, eventually, time_limit

SESSION_COOKIE = "containerstacks_session"
SESSION_SECRET = "only-for-tests-0123456789-0123456789"
_CSRF_FIELD = re.compile(r'name="csrf_token" value="([^"]+)"')


class OpenSite(Protocol):
    """The fixture `open_site`: starts the service, as often as the test likes."""

    async def __call__(self, *, without: Iterable[str] = ..., **settings: object) -> "Site": ...


@dataclass
class Site:
    client: TestClient[web.Request, web.Application]
    app: web.Application

    async def get(self, path: str, **headers: str) -> aiohttp.ClientResponse:
        return await self.client.get(path, headers=_header_names(headers), allow_redirects=False)

    async def json(self, path: str, **headers: str) -> Any:
        """Return the document at a path; anything but 200 fails the test."""
        response = await self.get(path, **headers)
        assert response.status == 200, await response.text()
        return await response.json()

    async def page(self, path: str, **headers: str) -> str:
        """Return the page at a path; anything but 200 fails the test."""
        response = await self.get(path, accept="text/html", **headers)
        text = await response.text()
        assert response.status == 200, (path, response.status, text)
        return text

    async def send(self, method: str, path: str, document: object, **headers: str) -> aiohttp.ClientResponse:
        """Send a document as JSON."""
        return await self.client.request(method, path, json=document, headers=_header_names(headers))

    async def send_form(self, path: str, **form: object) -> aiohttp.ClientResponse:
        """Send a form with the token of the signed-in session; a list is several fields of one name."""
        fields = [("csrf_token", await self.csrf_token("/account"))]
        for name, value in form.items():
            fields += [(name, str(each)) for each in (value if isinstance(value, list) else [value])]
        return await self.client.post(
            path, data=aiohttp.FormData(fields), headers={"Accept": "text/html"}, allow_redirects=False
        )

    async def raw(self, request: bytes) -> bytes:
        """Send bytes as they are, and return what comes until the server closes."""
        reader, writer = await asyncio.open_connection(self.client.host, self.client.port)
        try:
            writer.write(request)
            async with time_limit("the server did not close the connection"):
                return await reader.read()
        finally:
            writer.transport.abort()

    async def csrf_token(self, path: str = "/login") -> str:
        """Return the token in the forms of a page."""
        page = await self.page(path)
        found = _CSRF_FIELD.search(page)
        assert found is not None, page
        return found[1]

    async def sign_in(
        self, email: str, password: str = fleet.PASSWORD, **fields: str
    ) -> aiohttp.ClientResponse:
        form = {"email": email, "password": password, "csrf_token": await self.csrf_token()} | fields
        return await self.client.post("/login", data=form, allow_redirects=False)

    async def sees_details(self, **headers: str) -> bool:
        """Whether the visitor gets what only administrators and staff get."""
        return "byRawStatus" in (await self.json("/api/health/stats", **headers))["vps"]

    async def socket_refusal(self, path: str, **headers: str) -> int:
        """Ask for a socket, and return the status that it is refused with."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await self.client.ws_connect(path, headers=_header_names(headers))
        return refused.value.status

    @property
    def session_cookie(self) -> str | None:
        return next(
            (cookie.value for cookie in self.client.session.cookie_jar if cookie.key == SESSION_COOKIE), None
        )

    @property
    def version(self) -> int:
        snapshot = self.app[SNAPSHOT_FEED].snapshot
        return 0 if snapshot is None else snapshot.version


class GuardedTestServer(TestServer):
    """Serves as `run_service` does."""

    def __init__(self, app: web.Application, *, head_seconds_max: float) -> None:
        super().__init__(app)
        self._head_seconds_max = head_seconds_max

    async def _make_runner(self, **options: Any) -> GuardedRunner:
        return GuardedRunner(self.app, head_seconds_max=self._head_seconds_max, **options)


@contextlib.asynccontextmanager
async def open_site(
    database_url: str,
    *,
    without: Iterable[str] = ("builtin_billing",),
    head_seconds_max: float = HEAD_SECONDS_MAX,
    **settings: object,
) -> AsyncIterator[Site]:
    """Start the service; `without` names jobs that should not run."""
    values = {"database_url": database_url, "session_secret": SESSION_SECRET} | settings
    app = create_app(load_settings(WebSettings, **values))
    async with TestClient(GuardedTestServer(app, head_seconds_max=head_seconds_max)) as client:
        # The grace is for a daemon that starts at the same time; in tests who starts when is the test's choice.
        app[BUILTIN_BILLING].grace = timedelta(0)
        wanted = [job for job in jobs(app) if job.name not in without]
        async with running(*wanted, stops_within=LIMIT_SECONDS):
            if "feed" not in without:
                await eventually(lambda: app[SNAPSHOT_FEED].snapshot is not None)
            yield Site(client, app)


async def closed(browser: aiohttp.ClientWebSocketResponse) -> int | None:
    """Wait for the end of a socket, and return its code."""
    async with time_limit("the socket was not closed"):
        async for _ in browser:
            pass
    return browser.close_code


async def add_api_key(connection: Connection, *, role: str) -> str:
    """Add a user with this role, be it the application's or one of ours, and give them a key."""
    is_staff = role in STAFF_ROLES
    user_id = await fleet.add_user(connection, role="user" if is_staff else role)
    if is_staff:
        user = User(id=UserId(user_id), name="", role=UserRole.USER)
        await set_staff_role(connection, user, UserRole(role), author="operator")
    return await add_api_key_of(connection, user_id)


async def add_api_key_of(connection: Connection, user_id: UUID) -> str:
    async with connection.transaction():
        return (await api_keys.create(connection, UserId(user_id), name="for tests")).key


def api_description() -> dict[str, Any]:
    app = web.Application()
    app.router.add_routes(ROUTES)
    return describe_api("ContainerStacks", app.router)


def _header_names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
