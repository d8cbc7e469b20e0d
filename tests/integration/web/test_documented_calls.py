"""Every call of docs/api.md and of the API's page works verbatim, by curl and by Python."""

import ast
import asyncio
import html
import os
import re
import sys
from pathlib import Path
from typing import Final
from uuid import UUID

from containerstacks_shared.database.db import Connection
from support import fleet, web_site
from support.packages import needs
from support.web_site import Site

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "api.md"
_SECTION: Final = re.compile(r"^### (?P<call>[A-Z]+ /\S+)$(?P<text>.*?)(?=^##)", re.MULTILINE | re.DOTALL)
_SHOWN: Final = re.compile(
    r"<figcaption>(?P<language>curl|Python)</figcaption><pre><code>(?P<code>.*?)</code>", re.DOTALL
)
_BLOCK: Final = re.compile(r"^```(?P<language>sh|python)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, text: str) -> list[str]:
    return [block["code"] for block in _BLOCK.finditer(text) if block["language"] == language]


async def run(site: Site, key: str, organization: UUID, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={
            "PATH": os.environ["PATH"],
            "SITE": str(site.client.make_url("")).rstrip("/"),
            "KEY": key,
            "ORGANIZATION": str(organization),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{command[-1]}\n{output.decode()}"
    return output.decode()


def test_every_endpoint_has_a_call_of_either_kind() -> None:
    sections = {
        section["call"]: section["text"] for section in _SECTION.finditer(DOCUMENT.read_text("utf-8"))
    }
    paths = web_site.api_description()["paths"]
    described = {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/api/") and path != "/api/openapi.json" and method not in {"head", "options"}
    }
    assert set(sections) == described
    for call, text in sections.items():
        assert blocks("sh", text), call
        assert blocks("python", text), call


@needs("curl")
async def test_the_documented_calls_work(site: Site, connection: Connection) -> None:
    key = await web_site.add_api_key(connection, role="admin")
    organization = (await fleet.add_organization(connection)).id
    text = DOCUMENT.read_text(encoding="utf-8")
    shell = [block for block in blocks("sh", text) if "curl" in block]
    await run(
        site,
        key,
        organization,
        "bash",
        "-euo",
        "pipefail",
        "-c",
        "\n".join(f"{block}echo" for block in shell),
    )
    await run(site, key, organization, sys.executable, "-c", "\n".join(blocks("python", text)))
    # Made and ended by the calls themselves.
    ended = await connection.fetchval("select count(*) from user_api_keys where not active")
    assert ended == 2


@needs("curl")
async def test_the_calls_shown_on_the_page_are_accepted(site: Site, connection: Connection) -> None:
    key = await web_site.add_api_key(connection, role="admin")
    organization = (await fleet.add_organization(connection)).id
    page = await (await site.get("/api/docs", accept="text/html")).text()
    shown: dict[str, list[str]] = {"curl": [], "Python": []}
    for block in _SHOWN.finditer(page):
        shown[block["language"]].append(html.unescape(block["code"]))
    # Of Python one more: what the others begin with.
    assert len(shown["curl"]) == len(shown["Python"]) - 1 > 30
    for code in shown["Python"]:
        ast.parse(code)
    only_status = "curl -s -o /dev/null -w '%{http_code}\\n' "
    script = "\n".join(code.replace("curl ", only_status, 1) for code in shown["curl"])
    statuses = (await run(site, key, organization, "bash", "-euo", "pipefail", "-c", script)).split()
    # Ids in examples are made up: there is nothing at some.
    assert len(statuses) == len(shown["curl"])
    assert set(statuses) <= {"200", "201", "404"}, list(zip(statuses, shown["curl"], strict=True))
