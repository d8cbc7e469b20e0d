"""Templates, and drafts from what was measured: both fill a form in, and only the form publishes anything."""

import re
from html import unescape

import asyncpg

from containerstacks_shared.status import components
from containerstacks_shared.status.component_rules import Finding
from containerstacks_shared.status.documents import Component, ComponentState
from support.web_site import Site

PATH = "/admin/incidents/templates"
FORM = {
    "name": "Slow disks",
    "title": "Slow <disks>",
    "body": "We look at it.",
    "impact": "major",
    "components": "vps",
}


async def test_a_template_is_added_edited_used_and_deleted(
    signed_in: Site, connection: asyncpg.Connection
) -> None:
    refused = await signed_in.send_form(PATH, **{**FORM, "body": ""})
    assert (refused.status, "Required." in await refused.text()) == (422, True)
    assert (await signed_in.send_form(PATH, **FORM)).status == 303
    taken = await signed_in.send_form(PATH, **FORM)
    assert (taken.status, "has this name" in await taken.text()) == (422, True)
    number = await connection.fetchval("select id from incident_templates")
    shown = await signed_in.page(PATH)
    assert "Slow &lt;disks&gt;" in shown
    assert f'href="{PATH}/{number}"' in shown
    await signed_in.send_form(f"{PATH}/{number}", **{**FORM, "body": "We replace a disk."})
    filled = await signed_in.page(f"/admin/incidents/new?template={number}")
    assert "We replace a disk.</textarea>" in filled
    assert 'value="Slow &lt;disks&gt;"' in filled
    assert re.search(r'value="vps" checked', filled)
    assert re.search(r'value="major" selected', filled)
    assert await connection.fetchval("select count(*) from incidents") == 0
    assert (await signed_in.send_form(f"{PATH}/{number}", form="delete")).status == 303
    assert "No templates" in await signed_in.page(PATH)
    assert (await signed_in.get(f"{PATH}/{number}")).status == 404
    assert (await signed_in.send_form(f"{PATH}/{number}", **FORM)).status == 404


async def test_what_was_measured_drafts_an_incident_and_publishes_none(
    signed_in: Site, connection: asyncpg.Connection
) -> None:
    assert "not announced" not in await signed_in.page("/admin/incidents")
    down = Finding(ComponentState.DOWN, "No web process is connected.")
    await components.save_states(connection, {Component.WEB: down})
    offered = await signed_in.page("/admin/incidents")
    assert "No web process is connected." in offered
    draft = unescape(await signed_in.page("/admin/incidents/new?component=web"))
    assert 'value="Outage: Web"' in draft
    assert "No web process is connected. We are investigating.</textarea>" in draft
    assert re.search(r'value="web" checked', draft)
    assert await connection.fetchval("select count(*) from incidents") == 0
    # An incident was published, so there is nothing to suggest.
    form = {"title": "Outage: Web", "body": "We look.", "components": "web"}
    assert (await signed_in.send_form("/admin/incidents/new", **form)).status == 303
    assert "not announced" not in await signed_in.page("/admin/incidents")
    assert 'value="Outage: Web"' not in await signed_in.page("/admin/incidents/new?component=web")
