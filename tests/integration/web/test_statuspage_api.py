"""/api/v2 says what the page says, in Statuspage's shapes; the calendar and the small files of a site."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from icalendar import Calendar

from containerstacks_shared.database.db import Connection
from containerstacks_shared.status import components
from containerstacks_shared.status.component_rules import Finding
from containerstacks_shared.status.documents import Component, ComponentState
from support import looks
from support.waiting import eventually
from support.web_site import OpenSite, Site

STATUSES = {"operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"}
PATHS = (
    "summary",
    "status",
    "components",
    "incidents",
    "incidents/unresolved",
    "scheduled-maintenances",
    "scheduled-maintenances/upcoming",
    "scheduled-maintenances/active",
)
INCIDENT_FIELDS = {
    *(
        "id",
        "name",
        "status",
        "created_at",
        "updated_at",
        "monitoring_at",
        "resolved_at",
        "impact",
        "shortlink",
    ),
    *("started_at", "page_id", "incident_updates", "components", "reminder_intervals"),
}


async def publish(site: Site, key: str, document: dict[str, object]) -> int:
    answer = await site.send("POST", "/api/incidents", document, x_api_key=key)
    assert answer.status == 201, await answer.text()
    number: int = (await answer.json())["incident"]["id"]
    return number


def incident(**fields: object) -> dict[str, object]:
    draft = {
        "kind": "incident",
        "title": "Slow",
        "body": "We look.",
        "components": ["vps"],
        "impact": "major",
    }
    return draft | fields


def maintenance(begins: timedelta, title: str = "New disks") -> dict[str, object]:
    starts = datetime.now(UTC) + begins
    return {
        "kind": "maintenance",
        "title": title,
        "body": "Replaced.",
        "components": ["database"],
        "startsAt": starts.isoformat(),
        "endsAt": (starts + timedelta(hours=1)).isoformat(),
    }


async def until(site: Site, path: str, is_expected: Any) -> Any:
    async def asked() -> Any:
        document = await site.json(f"/api/v2/{path}.json")
        return document if is_expected(document) else None

    return await eventually(asked)


async def test_components_without_measurements_are_not_operational(site: Site) -> None:
    summary = await site.json("/api/v2/summary.json")
    assert {component["status"] for component in summary["components"]} == {"degraded_performance"}
    assert summary["status"] == {"indicator": "minor", "description": "Status Unknown"}


async def test_every_address_is_public_and_has_its_schema(site: Site, connection: Connection) -> None:
    await looks.find_all_well(connection)
    await until(site, "status", lambda document: document["status"]["indicator"] == "none")
    for path in PATHS:
        response = await site.get(f"/api/v2/{path}.json", origin="https://elsewhere.example")
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        document = await response.json()
        assert set(document["page"]) == {"id", "name", "url", "time_zone", "updated_at"}
        again = await site.get(f"/api/v2/{path}.json", if_none_match=response.headers["ETag"])
        assert again.status == 304
    # A refusal is readable too: a page has to know why.
    wrong = await site.get("/api/v2/status.json", origin="https://elsewhere.example", x_api_key="sk_live_no")
    assert (wrong.status, wrong.headers["Access-Control-Allow-Origin"]) == (401, "*")
    summary = await site.json("/api/v2/summary.json")
    assert set(summary) == {"page", "components", "incidents", "scheduled_maintenances", "status"}
    assert summary["status"] == {"indicator": "none", "description": "All Systems Operational"}
    assert [component["position"] for component in summary["components"]] == [1, 2, 3, 4, 5]
    assert {component["status"] for component in summary["components"]} <= STATUSES


async def test_incidents_and_maintenance_are_in_lists_of_their_own(site: Site, key: str) -> None:
    number = await publish(site, key, incident())
    planned = await publish(site, key, maintenance(timedelta(days=1)))
    active = await publish(site, key, maintenance(timedelta(0), "Now"))
    open_ = await until(site, "incidents/unresolved", lambda document: document["incidents"])
    assert [each["id"] for each in open_["incidents"]] == [str(number)]
    assert set(open_["incidents"][0]) == INCIDENT_FIELDS
    assert open_["incidents"][0]["components"][0]["status"] == "major_outage"
    update = open_["incidents"][0]["incident_updates"][0]
    assert (update["status"], update["body"]) == ("investigating", "We look.")
    assert update["affected_components"][0]["new_status"] == "partial_outage"

    async def maintenances(path: str) -> list[tuple[str, str, str]]:
        document = await site.json(f"/api/v2/scheduled-maintenances{path}.json")
        found = document["scheduled_maintenances"]
        return [(each["id"], each["status"], each["impact"]) for each in found]

    await until(site, "scheduled-maintenances/active", lambda document: document["scheduled_maintenances"])
    assert await maintenances("/upcoming") == [(str(planned), "scheduled", "maintenance")]
    assert await maintenances("/active") == [(str(active), "in_progress", "maintenance")]
    assert len(await maintenances("")) == 2
    await site.send("PATCH", f"/api/incidents/{number}", {"status": "resolved"}, x_api_key=key)
    await until(site, "incidents/unresolved", lambda document: not document["incidents"])
    closed = (await site.json("/api/v2/incidents.json"))["incidents"][0]
    assert (closed["status"], closed["resolved_at"] is None) == ("resolved", False)


@pytest.mark.parametrize(
    ("down", "indicator"), [((Component.WEB,), "major"), (tuple(Component), "critical"), ((), "none")]
)
async def test_the_indicator_says_how_much_is_down(
    site: Site, connection: Connection, down: tuple[Component, ...], indicator: str
) -> None:
    findings = {
        component: Finding(ComponentState.DOWN if component in down else ComponentState.OPERATIONAL, "x")
        for component in Component
    }
    await components.save_states(connection, findings)
    await until(site, "status", lambda document: document["status"]["indicator"] == indicator)


async def test_links_begin_with_the_public_address(open_site: OpenSite, key: str) -> None:
    site = await open_site(public_url="https://status.example.com/")
    number = await publish(site, key, incident())
    document = await until(site, "incidents", lambda document: document["incidents"])
    assert document["page"]["url"] == "https://status.example.com"
    assert document["incidents"][0]["shortlink"] == f"https://status.example.com/incidents/{number}"
    feed = await (await site.get("/status/feed.atom")).text()
    assert f'href="https://status.example.com/incidents/{number}"' in feed
    page = await (await site.get("/status", accept="text/html")).text()
    assert 'type="application/atom+xml"' in page
    assert '<meta property="og:url" content="https://status.example.com/status">' in page


async def test_maintenance_is_a_calendar_with_ids_that_stay(open_site: OpenSite, key: str) -> None:
    site = await open_site(public_url="https://status.example.com")
    title = "Disks; new, \\ and \N{SNOWMAN}" + " long" * 30
    number = await publish(site, key, maintenance(timedelta(days=1), title))
    await publish(site, key, incident())
    await until(site, "incidents", lambda document: document["incidents"])
    response = await site.get("/status/maintenance.ics")
    assert response.content_type == "text/calendar"
    text = await response.text()
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    calendar = Calendar.from_ical(text)
    assert calendar["VERSION"] == "2.0"
    (event,) = calendar.walk("VEVENT")
    # The parser complains about nothing that it had to overlook.
    assert (calendar.errors, event.errors) == ([], [])
    assert event["SUMMARY"] == title
    assert event["URL"] == f"https://status.example.com/incidents/{number}"
    assert event["STATUS"] == "CONFIRMED"
    starts, ends = event.decoded("DTSTART"), event.decoded("DTEND")
    assert ends - starts == timedelta(hours=1)
    assert timedelta(hours=23) < starts - datetime.now(UTC) < timedelta(hours=25)
    await site.send("PATCH", f"/api/incidents/{number}", {"status": "cancelled"}, x_api_key=key)

    async def is_cancelled() -> bool:
        later = Calendar.from_ical(await (await site.get("/status/maintenance.ics")).text())
        (event_later,) = later.walk("VEVENT")
        return bool((event_later["UID"], event_later["STATUS"]) == (event["UID"], "CANCELLED"))

    await eventually(is_cancelled)


async def test_a_site_serves_robots_favicon_and_security_txt(open_site: OpenSite) -> None:
    site = await open_site(security_contact="mailto:security@example.com")
    icon = await site.get("/favicon.ico")
    assert icon.status == 302
    assert (await site.get(icon.headers["Location"])).content_type == "image/svg+xml"
    assert "Disallow: /admin" in await (await site.get("/robots.txt")).text()
    security = await (await site.get("/.well-known/security.txt")).text()
    assert security.startswith("Contact: mailto:security@example.com\nExpires: ")
    assert datetime.fromisoformat(security.split("Expires: ")[1].strip()) > datetime.now(UTC)


async def test_without_a_contact_there_is_no_security_txt(site: Site) -> None:
    assert (await site.get("/.well-known/security.txt")).status == 404
