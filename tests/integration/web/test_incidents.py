"""Incidents and components: who may say what, and how everybody hears of it at once."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest

from containerstacks_shared.database.db import Connection
from containerstacks_shared.status import component_rules, components, incidents
from containerstacks_shared.status.component_rules import Finding
from containerstacks_shared.status.documents import Component, ComponentState
from containerstacks_web.live.board import STATUS_BOARD
from containerstacks_web.live.hub import HUB
from support import fleet
from support.waiting import eventually
from support.web_site import OpenSite, Site

PATH = "/api/incidents"
DRAFT: dict[str, object] = {
    "kind": "incident",
    "title": "VPS are <slow>",
    "body": "We are looking into it.",
    "components": ["web", "vps"],
    "impact": "major",
}
INCIDENT_FIELDS = {
    *("id", "kind", "title", "impact", "status", "components", "createdAt", "updatedAt"),
    *("startedAt", "startsAt", "endsAt", "closedAt", "updates"),
}
ATOM = "{http://www.w3.org/2005/Atom}"


def maintenance(begins: timedelta, length: timedelta = timedelta(hours=1)) -> dict[str, object]:
    starts = datetime.now(UTC) + begins
    return {
        "kind": "maintenance",
        "title": "New disks",
        "body": "Disks are replaced.",
        "components": ["database"],
        "startsAt": starts.isoformat(),
        "endsAt": (starts + length).isoformat(),
    }


async def opened(site: Site, key: str, document: object = DRAFT) -> Any:
    answer = await site.send("POST", PATH, document, x_api_key=key)
    assert answer.status == 201, await answer.text()
    incident = (await answer.json())["incident"]
    assert answer.headers["Location"] == f"{PATH}/{incident['id']}"
    return incident


async def shown(site: Site, count: int) -> list[Any]:
    async def read() -> Any:
        found = (await site.json(PATH))["incidents"]
        return found if len(found) == count else None

    return list(await eventually(read)) if count else []


async def record(connection: Connection, state: ComponentState = ComponentState.OPERATIONAL) -> None:
    findings = dict.fromkeys(Component, Finding(ComponentState.OPERATIONAL, "It works."))
    findings[Component.DATABASE] = Finding(state, "As measured.")
    async with connection.transaction():
        current = await incidents.read_current(connection)
        await components.record(connection, findings, current)


async def states(site: Site) -> dict[str, str]:
    document = await site.json("/api/status/components")
    return {each["component"]: each["state"] for each in document["components"]}


async def test_an_incident_is_opened_updated_and_closed(site: Site, key: str) -> None:
    incident = await opened(site, key)
    assert set(incident) == INCIDENT_FIELDS
    assert incident["components"] == ["vps", "web"]
    assert await shown(site, 1) == [incident]
    assert (await site.json(f"{PATH}/{incident['id']}"))["incident"] == incident

    path = f"{PATH}/{incident['id']}"
    answer = await site.send("PATCH", path, {"status": "resolved", "body": "Done."}, x_api_key=key)
    assert answer.status == 200
    resolved = (await answer.json())["incident"]
    assert (resolved["status"], resolved["updates"][0]["body"]) == ("resolved", "Done.")
    assert resolved["closedAt"] is not None


async def test_a_day_on_which_an_open_incident_began_is_not_one_without(site: Site, key: str) -> None:
    incident = await opened(site, key)
    day = incident["startedAt"][:10]

    async def is_said() -> bool:
        _, _, past = (await site.page("/status")).partition(f'id="past-{day}"')
        return "Not over yet; see above." in past.partition("</section>")[0]

    await eventually(is_said)


async def test_a_session_writes_only_from_a_page_of_this_site(site: Site, connection: Connection) -> None:
    email = "admin@example.org"
    await fleet.add_user(connection, email=email, role="admin")
    assert (await site.sign_in(email)).status == 303
    own = str(site.client.make_url("/").origin())
    for origin, status in (({}, 403), ({"origin": "https://example.org"}, 403), ({"origin": own}, 201)):
        assert (await site.send("POST", PATH, DRAFT, **origin)).status == status
    form = await site.client.post(PATH, data={"title": "x"}, headers={"Origin": own})
    assert form.status == 415
    assert await connection.fetchval("select count(*) from incidents") == 1


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"title": "  "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "a\x00b"}, "title"),
        ({"body": "a\uffffb"}, "body"),
        ({"components": []}, "components"),
        ({"components": ["network"]}, "components"),
        ({"impact": "terrible"}, "impact"),
        ({"status": "resolved"}, "status"),
        ({"author": "me"}, "author"),
        ({"kind": "party"}, "kind"),
        ({**maintenance(timedelta(hours=1)), "startsAt": 5}, "startsAt"),
    ],
)
async def test_an_invalid_incident_is_refused_with_the_field_that_is_wrong(
    site: Site, key: str, connection: Connection, changed: dict[str, object], complaint: str
) -> None:
    whole = changed if "startsAt" in changed else DRAFT | changed
    answer = await site.send("POST", PATH, whole, x_api_key=key)
    assert answer.status == 422, await answer.text()
    problem = await answer.json()
    assert complaint in problem["detail"]
    assert f"/{complaint}" in {error["pointer"].split("/0")[0] for error in problem["errors"]}
    # In the words of this API, not of the library that found it.
    assert "Value error" not in problem["detail"]
    assert "Input should" not in problem["detail"]
    assert await connection.fetchval("select count(*) from incidents") == 0


async def test_a_change_that_does_not_fit_is_a_conflict(site: Site, key: str) -> None:
    for planned in (maintenance(timedelta(hours=-3)), maintenance(timedelta(hours=1), timedelta(days=40))):
        assert (await site.send("POST", PATH, planned, x_api_key=key)).status == 409
    incident = await opened(site, key)
    path = f"{PATH}/{incident['id']}"
    for target, document, status in (
        (path, {"status": "cancelled"}, 409),
        (path, {}, 409),
        (f"{PATH}/999", {"title": "x"}, 404),
        (f"{PATH}/99999999999999999999", {"title": "x"}, 404),
        (f"{PATH}/one", {"title": "x"}, 404),
    ):
        assert (await site.send("PATCH", target, document, x_api_key=key)).status == status


async def test_the_list_can_be_of_one_kind_and_refuses_other_questions(site: Site, key: str) -> None:
    await opened(site, key)
    planned = (await opened(site, key, maintenance(timedelta(hours=3))))["id"]
    only = await site.json(f"{PATH}?kind=maintenance")
    assert [incident["id"] for incident in only["incidents"]] == [planned]
    for query in ("limit=101", "kind=party", "limit=1&limit=2"):
        assert (await site.get(f"{PATH}?{query}")).status == 400


async def test_components_have_a_state_uptime_and_ninety_days(site: Site, connection: Connection) -> None:
    assert set((await states(site)).values()) == {"no_data"}
    await record(connection)
    await eventually(lambda: is_overall(site, ComponentState.OPERATIONAL))
    document = await site.json("/api/status/components")
    assert set(document) == {"success", "timestamp", "lastUpdated", "stale", "overall", "components"}
    assert (document["stale"], document["overall"]) == (False, "operational")
    assert [each["component"] for each in document["components"]] == list(Component)
    database = document["components"][3]
    assert (database["state"], database["because"], database["name"]) == (
        "operational",
        "As measured.",
        "Database",
    )
    assert [each["window"] for each in database["uptime"]] == ["24h", "7d", "30d", "90d"]
    assert database["uptime"][0] == {
        "window": "24h",
        "percent": 100,
        "recordedMinutes": 1,
        "totalMinutes": 1440,
    }
    assert len(database["days"]) == 90
    assert (database["days"][-1]["state"], database["days"][0]["state"]) == ("operational", "no_data")


async def test_a_minute_is_not_shown_as_ninety_days(site: Site, connection: Connection) -> None:
    await record(connection)
    await eventually(lambda: is_overall(site, ComponentState.OPERATIONAL))
    page = await (await site.get("/status")).text()
    assert page.count(">Collecting data since ") == len(Component)
    # In words wherever a percentage stands: beside the bars, and above the table.
    assert page.count("24 hours 100% (of 1 minute recorded)") == 2 * len(Component)


async def test_a_planned_window_sets_its_components_to_maintenance(
    site: Site, connection: Connection, key: str
) -> None:
    await record(connection)
    await eventually(lambda: is_overall(site, ComponentState.OPERATIONAL))
    await opened(site, key, maintenance(timedelta(seconds=2), timedelta(seconds=4)))
    await eventually(lambda: is_overall(site, ComponentState.MAINTENANCE))
    assert (await states(site))["database"] == "maintenance"
    await eventually(lambda: is_overall(site, ComponentState.OPERATIONAL))
    (over,) = await shown(site, 1)
    assert [update["status"] for update in over["updates"]] == ["completed", "in_progress", "scheduled"]


def is_overall(site: Site, state: ComponentState) -> bool:
    board = site.app[STATUS_BOARD].board
    return board is not None and board.overall is state


async def test_only_browsers_subscribed_to_incidents_get_each_at_once(
    site: Site, connection: Connection, key: str
) -> None:
    await record(connection)
    await eventually(lambda: is_overall(site, ComponentState.OPERATIONAL))
    async with (
        site.client.ws_connect("/ws/status") as usual,
        site.client.ws_connect("/ws/status?topics=incidents") as asking,
    ):
        first = json.loads(await asking.receive_str(timeout=20))
        fields = {"type", "version", "timestamp", "overall", "components", "incidents", "billingPaused"}
        assert set(first) == fields
        assert first["billingPaused"] is False
        assert (first["type"], first["overall"], first["incidents"]) == ("incidents", "operational", [])
        assert set(first["components"][0]) == {"component", "name", "state", "because", "checkedAt"}

        incident = await opened(site, key)
        second = json.loads(await asking.receive_str(timeout=20))
        assert second["incidents"] == [incident]
        assert second["version"] > first["version"]
        assert {each["component"]: each["state"] for each in second["components"]}["vps"] == "down"
        # Read again without anything new: nothing is sent.
        await connection.execute("notify incidents_changed")
        await record(connection)
        await site.send("PATCH", f"{PATH}/{incident['id']}", {"title": "Other"}, x_api_key=key)
        third = json.loads(await asking.receive_str(timeout=20))
        assert third["incidents"][0]["title"] == "Other"

        await eventually(lambda: len(site.app[HUB]) == 2)
        await fleet.add_instance(connection)
        for _ in range(2):
            assert json.loads(await usual.receive_str(timeout=5))["type"] == "status"


async def test_the_feed_has_an_entry_for_each(site: Site, key: str) -> None:
    await opened(site, key)
    await opened(site, key, maintenance(timedelta(hours=3)))
    await shown(site, 2)
    answer = await site.get("/status/feed.atom")
    assert answer.content_type == "application/atom+xml"
    assert answer.headers["Cache-Control"].startswith("public, max-age=30, s-maxage=1, ")
    feed = ET.fromstring(await answer.read())
    titles = [entry.findtext(f"{ATOM}title") for entry in feed.findall(f"{ATOM}entry")]
    assert titles == ["Maintenance (scheduled): New disks", "Incident (investigating): VPS are <slow>"]
    content = feed.findall(f"{ATOM}entry")[1].findtext(f"{ATOM}content")
    assert content is not None
    assert content.endswith(" UTC, investigating: We are looking into it.")
    again = await site.get("/status/feed.atom", if_none_match=answer.headers["ETag"])
    assert again.status == 304


async def test_the_feed_is_the_same_for_every_host_name(site: Site, key: str) -> None:
    await opened(site, key)
    await opened(site, key)
    await shown(site, 2)
    document = await (await site.get("/status/feed.atom")).read()
    assert await (await site.get("/status/feed.atom", host="evil.example")).read() == document
    feed = ET.fromstring(document)
    ids = {UUID(found.text or "").urn for found in feed.iter(f"{ATOM}id")}
    assert ids == {found.text for found in feed.iter(f"{ATOM}id")}
    assert len(ids) == 3
    # Relative to where the feed was found.
    assert all(
        link.attrib["href"].startswith(("/status", "/incidents/")) for link in feed.iter(f"{ATOM}link")
    )


@pytest.mark.parametrize("name", ["status", *Component])
async def test_there_is_a_badge_for_each_component_and_for_all(
    site: Site, connection: Connection, name: str
) -> None:
    await record(connection, ComponentState.DEGRADED)
    await eventually(lambda: is_overall(site, ComponentState.DEGRADED))
    answer = await site.get(f"/badge/{name}.svg")
    assert answer.content_type == "image/svg+xml"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Cache-Control"].startswith("public, max-age=30, s-maxage=1, ")
    picture = ET.fromstring(await answer.read())
    word = "degraded" if name in {"status", Component.DATABASE} else "operational"
    assert picture.attrib["aria-label"].endswith(f": {word}")
    assert (await site.get(f"/badge/{name}.svg", if_none_match=answer.headers["ETag"])).status == 304
    assert (await site.get("/badge/network.svg")).status == 404


async def test_the_author_is_not_public(site: Site, key: str, connection: Connection) -> None:
    await opened(site, key)
    await shown(site, 1)
    author = await connection.fetchval("select author from incident_updates")
    name, email = await connection.fetchrow("select name, email from users") or ("", "")
    assert author == name
    for path in (PATH, f"{PATH}/1", "/api/status/components", "/status/feed.atom"):
        text = await (await site.get(path)).text()
        assert email not in text
        assert name not in text


async def test_without_the_database_the_last_states_are_shown_as_what_they_are(
    open_site: OpenSite, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await open_site()
    await record(connection)
    await eventually(lambda: is_overall(site, ComponentState.OPERATIONAL))
    board = site.app[STATUS_BOARD]
    monkeypatch.setattr(board, "_healthy", False)
    document = await site.json("/api/status/components")
    assert document["stale"] is True
    assert await states(site) == {
        **dict.fromkeys(Component, "operational"),
        Component.DATABASE: "down",
    }
    long_ago = board._read_at - component_rules.RECORD_LIFETIME.total_seconds() - 1
    monkeypatch.setattr(board, "_read_at", long_ago)
    assert set((await states(site)).values()) == {"down", "no_data"}
