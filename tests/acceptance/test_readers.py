"""Programs of others read the API: two clients of Statuspage's format, and one that is made of our description.

They come from the package index, unmodified, and live in environments of their own (`make setup`).
"""

import asyncio
import json
import sys
import textwrap
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from containerstacks_shared.database.db import Connection
from support import fleet, looks, roles, web_site
from support.waiting import eventually
from support.web_site import Site

READERS: Final = Path(sys.prefix) / "readers"
pytestmark = pytest.mark.skipif(not READERS.exists(), reason="needs `make setup`")

# Of the client only the address is said: where it finds a page that is not Atlassian's.
STATUSCHECK: Final = """
    import json, sys
    from statuscheck.services.bases._statuspageio import BaseStatusPageAPI

    class ServiceAPI(BaseStatusPageAPI):
        name = "ContainerStacks"
        def _get_base_url(self):
            return sys.argv[1] + "/api/v2/"

    summary = ServiceAPI().get_summary()
    print(json.dumps({
        "ok": summary.status.is_ok,
        "status": summary.status.name,
        "components": {component.name: component.status for component in summary.components},
        "incidents": [(incident.name, incident.status) for incident in summary.incidents],
    }))
"""
GENERATED: Final = """
    import datetime, json, sys
    from uuid import UUID
    from client import AuthenticatedClient, Client
    from client.api.api_keys import create_api_key, list_api_keys, revoke_api_key
    from client.api.billing import list_billing_runs
    from client.api.incidents_and_maintenance import open_incident
    from client.api.organizations import get_balance, list_organizations
    from client.api.status import get_vps_statistics
    from client.models import ApiKeyRequest, Component, IncidentDraft, Problem

    site, key = sys.argv[1:3]
    admin = AuthenticatedClient(base_url=site, token=key)
    (organization,) = list_organizations.sync(client=admin).organizations
    assert isinstance(organization.id, UUID)
    balance = get_balance.sync(organization.id, client=admin)
    assert isinstance(balance.timestamp, datetime.datetime)
    made = create_api_key.sync(client=admin, body=ApiKeyRequest(name="wall"))
    revoked = revoke_api_key.sync_detailed(made.id, client=admin)
    wrong = open_incident.sync(
        client=admin,
        body=IncidentDraft(kind="incident", title="", body="We look.", components=[Component.VPS]),
    )
    assert isinstance(wrong, Problem)
    stranger = list_billing_runs.sync(client=Client(base_url=site))
    assert isinstance(stranger, Problem)
    print(json.dumps({
        "total": get_vps_statistics.sync(client=Client(base_url=site)).vps.total,
        "balance": [balance.balance, balance.currency],
        "revoked": revoked.status_code,
        "active": [each.active for each in list_api_keys.sync(client=admin).keys if each.id == made.id],
        "wrong": [str(wrong.type_), wrong.errors[0].pointer, wrong.errors[0].detail],
        "stranger": str(stranger.type_),
    }))
"""


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    async with web_site.open_site(roles.as_role(database_url, roles.WEB)) as site:
        yield site


async def run(*command: str | Path, folder: Path, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env={"PATH": str(Path(command[0]).parent), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def publish(site: Site, connection: Connection) -> None:
    """Let there be something of every kind to read: an outage of one component, and maintenance to come."""
    await looks.find_all_well(connection)
    key = await web_site.add_api_key(connection, role="admin")
    starts = datetime.now(UTC) + timedelta(days=1)
    drafts: tuple[dict[str, object], ...] = (
        {
            "kind": "incident",
            "title": "Slow disks",
            "body": "We look.",
            "impact": "major",
            "components": ["vps"],
        },
        {
            "kind": "maintenance",
            "title": "New disks",
            "body": "Replaced.",
            "components": ["database"],
            "startsAt": starts.isoformat(),
            "endsAt": (starts + timedelta(hours=1)).isoformat(),
        },
    )
    for draft in drafts:
        async with site.client.post("/api/incidents", json=draft, headers={"X-API-Key": key}) as answer:
            assert answer.status == 201, await answer.text()

    async def is_shown() -> bool:
        summary = await site.json("/api/v2/summary.json")
        return bool(summary["incidents"] and summary["scheduled_maintenances"])

    await eventually(is_shown)


def address(site: Site) -> str:
    return str(site.client.make_url("")).rstrip("/")


async def statuscheck(site: Site, folder: Path) -> Any:
    python = READERS / "statuscheck" / "bin" / "python"
    return json.loads(await run(python, "-c", textwrap.dedent(STATUSCHECK), address(site), folder=folder))


async def test_statuscheck_reads_the_status(site: Site, connection: Connection, tmp_path: Path) -> None:
    # Without any measurement the status is not operational.
    unknown = await statuscheck(site, tmp_path)
    assert not unknown["ok"]
    assert "operational" not in {state.lower() for state in unknown["components"].values()}
    await publish(site, connection)
    read = await statuscheck(site, tmp_path)
    assert not read["ok"]
    assert read["incidents"] == [["Slow disks", "investigating"], ["New disks", "scheduled"]]
    assert len(read["components"]) == 5
    assert read["components"]["VPS infrastructure"] != read["components"]["Database"]


async def test_an_exporter_for_prometheus_reads_the_status(
    site: Site, connection: Connection, tmp_path: Path
) -> None:
    services = {"ours": {"name": "ContainerStacks", "url": f"{address(site)}/api/v2/summary.json"}}
    (tmp_path / "services.json").write_text(json.dumps(services), encoding="utf-8")
    written = tmp_path / "metrics.prom"

    async def scrape() -> dict[tuple[str, str], float]:
        exporter = READERS / "clients" / "bin" / "statuspage-prometheus-exporter"
        await run(exporter, folder=tmp_path, RUN_MODE="once", METRICS_TEXTFILE_PATH=str(written))
        return {
            (
                sample.name,
                sample.labels.get("component_name") or sample.labels.get("incident_name") or "",
            ): sample.value
            for family in text_string_to_metric_families(written.read_text(encoding="utf-8"))
            for sample in family.samples
        }

    unknown = await scrape()
    assert unknown["statuspage_probe_check", ""] == 1
    assert unknown["statuspage_service_status", ""] == 0
    assert unknown["statuspage_component_status", "Database"] == 0
    await publish(site, connection)
    read = await scrape()
    assert read["statuspage_component_status", "Database"] == 1
    assert read["statuspage_component_status", "VPS infrastructure"] == 0
    assert read["statuspage_service_status", ""] == 0
    assert read["statuspage_incident_info", "Slow disks"] == 1


async def test_a_client_that_is_made_of_the_description_works(
    site: Site, connection: Connection, tmp_path: Path
) -> None:
    organization = await fleet.add_organization(connection, balance="0.12345678")
    await fleet.add_instance(connection, organization, await fleet.add_plan(connection))
    await eventually(lambda: site.version > 1)
    key = await web_site.add_api_key_of(connection, await fleet.add_user(connection, role="admin"))
    description = tmp_path / "openapi.json"
    description.write_text(json.dumps(await site.json("/api/openapi.json")), encoding="utf-8")
    made = READERS / "clients" / "bin"
    said = await run(
        made / "openapi-python-client",
        "generate",
        *("--path", description, "--meta", "none", "--output-path", tmp_path / "client"),
        folder=tmp_path,
    )
    # It has no words for pictures and feeds; everything else it understands.
    assert said.count("WARNING parsing") == 2, said
    read = json.loads(
        await run(made / "python", "-c", textwrap.dedent(GENERATED), address(site), key, folder=tmp_path)
    )
    assert read == {
        "total": 1,
        "balance": ["0.12345678", "USD"],
        "revoked": 204,
        "active": [False],
        "wrong": ["/problems/invalid-document", "/title", "Must not be empty."],
        "stranger": "/problems/authentication-required",
    }
