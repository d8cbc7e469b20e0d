"""Templates, and drafts from what was measured: both fill a form in, and only the form publishes anything."""

import re
from html import unescape

import aiohttp
import asyncpg
import pytest

from containerstacks_shared.status import components
from containerstacks_shared.status.component_rules import Finding
from containerstacks_shared.status.documents import Component, ComponentState
from support import fleet
from support.web_site import Site

EMAIL = "ada@example.com"
PATH = "/admin/incidents/templates"
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
FORM = {
    "name": "Slow disks",
    "title": "Slow <disks>",
    "body": "We look at it.",
    "impact": "major",
    "components": "vps",
}


@pytest.fixture
async def signed_in(site: Site, connection: asyncpg.Connection) -> Site:
    await fleet.add_user(connection, email=EMAIL, role="admin")
    await site.sign_in(EMAIL)
    return site


async def read(site: Site, path: str) -> str:
    response = await site.get(path, accept="text/html")
    assert response.status == 200, await response.text()
    return await response.text()


async def send(site: Site, path: str, **form: str) -> aiohttp.ClientResponse:
    found = TOKEN.search(await read(site, PATH))
    assert found is not None
    data = {"csrf_token": found[1], **form}
    return await site.client.post(path, data=data, headers={"Accept": "text/html"}, allow_redirects=False)


async def test_a_template_is_added_edited_used_and_deleted(
    signed_in: Site, connection: asyncpg.Connection
) -> None:
    refused = await send(signed_in, PATH, **{**FORM, "body": ""})
    assert (refused.status, "Required." in await refused.text()) == (422, True)
    assert (await send(signed_in, PATH, **FORM)).status == 303
    taken = await send(signed_in, PATH, **FORM)
    assert (taken.status, "has this name" in await taken.text()) == (422, True)
    number = await connection.fetchval("select id from incident_templates")
    shown = await read(signed_in, PATH)
    assert "Slow &lt;disks&gt;" in shown
    assert f'href="{PATH}/{number}"' in shown
    await send(signed_in, f"{PATH}/{number}", **{**FORM, "body": "We replace a disk."})
    filled = await read(signed_in, f"/admin/incidents/new?template={number}")
    assert "We replace a disk.</textarea>" in filled
    assert 'value="Slow &lt;disks&gt;"' in filled
    assert re.search(r'value="vps" checked', filled)
    assert re.search(r'value="major" selected', filled)
    assert await connection.fetchval("select count(*) from incidents") == 0
    assert (await send(signed_in, f"{PATH}/{number}", form="delete")).status == 303
    assert "No templates" in await read(signed_in, PATH)
    assert (await signed_in.get(f"{PATH}/{number}")).status == 404
    assert (await send(signed_in, f"{PATH}/{number}", **FORM)).status == 404


async def test_what_was_measured_drafts_an_incident_and_publishes_none(
    signed_in: Site, connection: asyncpg.Connection
) -> None:
    assert "not announced" not in await read(signed_in, "/admin/incidents")
    down = Finding(ComponentState.DOWN, "No web process is connected.")
    await components.save_states(connection, {Component.WEB: down})
    offered = await read(signed_in, "/admin/incidents")
    assert "No web process is connected." in offered
    draft = unescape(await read(signed_in, "/admin/incidents/new?component=web"))
    assert 'value="Outage: Web"' in draft
    assert "No web process is connected. We are investigating.</textarea>" in draft
    assert re.search(r'value="web" checked', draft)
    assert await connection.fetchval("select count(*) from incidents") == 0
    # Somebody tells of it: there is nothing to suggest any more.
    form = {"title": "Outage: Web", "body": "We look.", "components": "web"}
    assert (await send(signed_in, "/admin/incidents/new", **form)).status == 303
    assert "not announced" not in await read(signed_in, "/admin/incidents")
    assert 'value="Outage: Web"' not in await read(signed_in, "/admin/incidents/new?component=web")
