"""Every kind of problem has a page, every refusal is of a kind, and the kinds fit their statuses."""

import json
from typing import Final

import pytest

from containerstacks_shared.database.db import Connection
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused
from support import web_site
from support.web_site import OpenSite, Site

URIS: Final = {problem.uri for problem in ProblemType}


def test_a_refusal_has_the_status_of_its_kind() -> None:
    for kind in ProblemType:
        assert RequestRefused(kind, "No.").status == kind.value.status
        assert ProblemType.of(kind.value.status).value.status == kind.value.status


async def test_every_kind_has_a_page_and_is_in_the_docs(site: Site) -> None:
    docs = await (await site.get("/api/docs", accept="text/html")).text()
    assert len(URIS) == len(ProblemType)
    for problem in ProblemType:
        answer = await site.get(problem.uri, accept="text/html")
        assert answer.status == 200
        page = await answer.text()
        assert f"<h1>{problem.value.title}</h1>" in page
        assert problem.uri in page
        assert docs.count(f'href="{problem.uri}"') == 1
        assert problem.value.explanation.endswith(".")
        assert problem.value.remedy.endswith(".")
    assert (await site.get("/problems/no-such-kind", accept="text/html")).status == 404
    assert (await site.get("/problems")).headers["Location"] == "/api/docs#errors"
    kinds = web_site.api_description()["components"]["schemas"]["Problem"]["properties"]["type"]
    assert set(kinds["enum"]) == URIS


@pytest.mark.parametrize(
    ("request_lines", "expected"),
    [
        (b"NOT HTTP\r\n\r\n", "/problems/malformed-http"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "/problems/header-too-large"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nConnection: close\r\n\r\n",
            "/problems/expectation-failed",
        ),
    ],
)
async def test_a_refusal_before_parsing_has_a_problem_page(
    site: Site, request_lines: bytes, expected: str
) -> None:
    answer = await site.raw(request_lines)
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert problem["type"] == expected
    assert problem["title"] == next(kind.value.title for kind in ProblemType if kind.uri == expected)


async def test_refusals_with_the_same_status_have_different_problem_types(
    open_site: OpenSite, connection: Connection, key: str
) -> None:
    site = await open_site(allowed_hosts="status.example.com,127.0.0.1")
    user = await web_site.add_api_key(connection, role="user")

    async def kind(path: str, **headers: str) -> str:
        problem = await (await site.get(path, **headers)).json()
        assert problem["type"] in URIS
        return str(problem["type"]).removeprefix("/problems/")

    assert await kind("/api/keys") == "authentication-required"
    assert await kind("/api/keys", x_api_key="sk_live_wrong") == "invalid-credential"
    assert await kind("/api/keys", x_api_key=user) == "forbidden"
    assert await kind("/api/billing/runs?limit=x", x_api_key=key) == "invalid-parameter"
    assert await kind("/api/health", host="elsewhere.example") == "wrong-host"
    assert await kind("/api/health", accept="text/csv") == "not-acceptable"
    assert await kind("/ws/status") == "upgrade-required"
    assert await kind("/ws/status?topics=weather") == "invalid-parameter"
