"""The pages of incidents: one for each that keeps its address, and the history by month."""

from datetime import UTC, datetime, timedelta
from typing import Any

from support.web_site import Site

DRAFT: dict[str, object] = {
    "kind": "incident",
    "title": "Slow <b>disks</b> \N{RIGHT-TO-LEFT OVERRIDE}",
    "body": "We look into **disk 7**. <script>alert(1)</script>",
    "components": ["vps"],
    "impact": "none",
}


async def publish(site: Site, key: str, **fields: object) -> Any:
    answer = await site.send("POST", "/api/incidents", DRAFT | fields, x_api_key=key)
    return answer.status, await answer.json()


async def change(site: Site, key: str, number: int, **fields: object) -> Any:
    answer = await site.send("PATCH", f"/api/incidents/{number}", fields, x_api_key=key)
    return answer.status, await answer.json()


async def test_an_incident_keeps_its_page_with_every_update(site: Site, key: str) -> None:
    _, document = await publish(site, key)
    number = document["incident"]["id"]
    await change(site, key, number, status="resolved", body="The disk was replaced.")
    status, _ = await change(site, key, number, status="postmortem", body="- what\n- why")
    assert status == 200
    shown = await site.page(f"/incidents/{number}")
    assert "<bdi>Slow &lt;b&gt;disks&lt;/b&gt; \N{RIGHT-TO-LEFT OVERRIDE}</bdi>" in shown
    assert "We look into <strong>disk 7</strong>. &lt;script&gt;" in shown
    assert shown.index("Postmortem") < shown.index("The disk was replaced.") < shown.index("disk 7")
    assert "<li>what</li>" in shown
    # An impact of none is no word.
    assert "impact" not in shown
    read = (await site.json(f"/api/incidents/{number}"))["incident"]
    assert read["status"] == "resolved"
    assert [update["status"] for update in read["updates"]] == ["postmortem", "resolved", "investigating"]


async def test_a_postmortem_is_of_a_resolved_incident(site: Site, key: str) -> None:
    _, document = await publish(site, key)
    number = document["incident"]["id"]
    assert (await change(site, key, number, status="postmortem", body="Why"))[0] == 409
    await change(site, key, number, status="resolved")
    assert (await change(site, key, number, status="postmortem"))[0] == 409


async def test_an_unknown_incident_has_no_page(site: Site) -> None:
    for number in ("1", "x", "99999999999999999999", "-1"):
        assert (await site.get(f"/incidents/{number}")).status == 404


async def test_an_incident_may_have_begun_before_it_was_published(site: Site, key: str) -> None:
    began = datetime.now(UTC) - timedelta(days=40)
    status, document = await publish(site, key, startedAt=began.isoformat())
    assert status == 201
    incident = document["incident"]
    assert datetime.fromisoformat(incident["startedAt"]) == began
    assert incident["createdAt"] > incident["startedAt"]
    for wrong in (datetime.now(UTC) + timedelta(hours=1), began - timedelta(days=400)):
        assert (await publish(site, key, startedAt=wrong.isoformat()))[0] == 409
        assert (await change(site, key, incident["id"], startedAt=wrong.isoformat()))[0] == 409
    later = (began + timedelta(days=1)).isoformat()
    _, changed = await change(site, key, incident["id"], startedAt=later)
    assert datetime.fromisoformat(changed["incident"]["startedAt"]) == began + timedelta(days=1)


async def test_the_history_goes_by_the_month_in_which_something_began(site: Site, key: str) -> None:
    began = datetime.now(UTC).replace(day=1) - timedelta(days=40)
    _, document = await publish(site, key, startedAt=began.isoformat())
    link = f'href="/incidents/{document["incident"]["id"]}"'
    now = await site.page("/incidents")
    assert "No incidents reported." in now
    assert link not in now
    assert 'rel="prev"' in now
    assert 'rel="next"' not in now
    then = await site.page(f"/incidents?month={began:%Y-%m}")
    assert link in then
    assert 'rel="prev"' not in then
    assert 'rel="next"' in then
    for wrong in ("2026-13", "x", "0000-01", "9999-12"):
        assert (await site.get(f"/incidents?month={wrong}")).status == 404
