"""What every answer carries, how errors look, and what must be nowhere."""

import re
from typing import Any

import asyncpg
import pytest

from support import web_site
from support.web_site import Site

EVERYWHERE = (
    "/status",
    "/about",
    "/login",
    "/api/docs",
    "/api/openapi.json",
    "/api/health",
    "/api/health/stats",
    "/api/health/billing-daemon",
    "/api/health/platform-stats",
)


async def test_programs_get_problem_details(site: Site) -> None:
    answer = await site.get("/api/health/nothing", accept="text/html")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = await answer.json()
    assert problem == {
        "type": "/problems/not-found",
        "title": "Not found",
        "status": 404,
        "detail": "There is nothing at this address.",
        "requestId": answer.headers["X-Request-ID"],
        "success": False,
    }


async def test_people_get_a_page(site: Site) -> None:
    answer = await site.get("/nothing", accept="text/html,application/xhtml+xml")
    assert answer.status == 404
    assert answer.content_type == "text/html"
    assert "Page not found" in await answer.text()


async def test_a_wrong_method_is_refused_with_the_allowed_ones(site: Site) -> None:
    async with site.client.post("/api/health/stats") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert (await answer.json())["title"] == "Method not allowed"


@pytest.mark.parametrize("path", [*EVERYWHERE, "/nothing", "/healthz", "/metrics"])
async def test_every_answer_is_guarded(site: Site, path: str) -> None:
    answer = await site.get(path, accept="text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Server"] == "containerstacks"
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize(("path", "policy"), [("/status", None), ("/about", None), ("/login", "same-origin")])
async def test_only_personal_pages_are_isolated_from_the_windows_of_other_sites(
    site: Site, path: str, policy: str | None
) -> None:
    answer = await site.get(path, accept="text/html")
    assert answer.headers.get("Cross-Origin-Opener-Policy") == policy


async def test_a_signed_in_visitors_status_page_is_private(
    site: Site, connection: asyncpg.Connection
) -> None:
    key = await web_site.add_api_key(connection, role="user")
    answer = await site.get("/status", x_api_key=key, accept="text/html")
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


async def test_a_request_keeps_the_id_that_a_proxy_gave_it(site: Site) -> None:
    kept = await site.get("/api/health", x_request_id="proxy-4711-abc")
    assert kept.headers["X-Request-ID"] == "proxy-4711-abc"
    replaced = await site.get("/api/health", x_request_id='"><script>')
    assert "<" not in replaced.headers["X-Request-ID"]


@pytest.mark.parametrize("path", [*EVERYWHERE, "/nothing"])
async def test_no_page_mentions_networking(site: Site, path: str) -> None:
    answer = await site.get(path, accept="text/html, */*;q=0.8")
    assert answer.status == (404 if path == "/nothing" else 200)
    # The description names the addresses that may be trusted.
    word = "networking" if path.startswith("/api/") else "network"
    assert word not in (await answer.text()).lower()


async def test_no_address_is_about_networking(site: Site) -> None:
    addresses = [resource.canonical for resource in site.app.router.resources()]
    assert len(addresses) > len(EVERYWHERE)
    assert not [address for address in addresses if "network" in address]
    for path in ("/networking", "/api/networking", "/api/health/network", "/api/health/networking"):
        assert (await site.get(path)).status == 404


async def test_the_description_covers_the_api_and_resolves(site: Site) -> None:
    document = await site.json("/api/openapi.json")
    assert document["openapi"].startswith("3.1")
    served = {
        (resource.canonical, route.method.lower())
        for resource in site.app.router.resources()
        for route in resource
        if resource.canonical.startswith(("/api/", "/badge/", "/status/"))
        and resource.canonical != "/api/docs"
    }
    described = {
        (path, method)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "options"
    }
    assert described == served
    for reference in _references(document):
        assert reference.startswith("#/components/schemas/")
        assert reference.rpartition("/")[2] in document["components"]["schemas"]


async def test_the_documentation_needs_nothing_from_elsewhere(site: Site) -> None:
    page = await site.page("/api/docs")
    assert "GET /api/health/stats" in page
    assert "totalVCPUs" in page
    assert not re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//[^"'> ]*""", page)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []
