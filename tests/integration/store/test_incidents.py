"""Incidents and maintenance: what administrators may do to them, and what everybody reads."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from containerstacks_shared.core.errors import ChangeRefused, NotFound
from containerstacks_shared.database.notify import Channel
from containerstacks_shared.status import incidents
from containerstacks_shared.status.documents import (
    Component,
    Impact,
    Incident,
    IncidentId,
    IncidentKind,
    IncidentStatus,
)
from containerstacks_shared.status.incident_drafts import IncidentChange, IncidentDraft, MaintenanceDraft
from support.clock import clock_now, shift_session
from support.waiting import listening

DRAFT = IncidentDraft(
    kind=IncidentKind.INCIDENT,
    title="VPS are slow",
    body="We are looking into it.",
    components=(Component.WEB, Component.VPS),
    impact=Impact.MAJOR,
)
HOUR = timedelta(hours=1)


async def window(connection: asyncpg.Connection, begins: timedelta, length: timedelta) -> MaintenanceDraft:
    starts_at = await clock_now(connection) + begins
    return MaintenanceDraft(
        kind=IncidentKind.MAINTENANCE,
        title="New disks",
        body="Disks are replaced.",
        components=(Component.VPS,),
        starts_at=starts_at,
        ends_at=starts_at + length,
    )


async def plan(
    connection: asyncpg.Connection, begins: timedelta = HOUR, length: timedelta = 2 * HOUR
) -> Incident:
    draft = await window(connection, begins, length)
    return await incidents.publish(connection, draft, author="ann")


async def change(connection: asyncpg.Connection, incident: Incident, **wanted: object) -> Incident:
    asked = IncidentChange.model_validate(wanted)
    async with connection.transaction():
        return await incidents.change(connection, IncidentId(incident.id), asked, author="ann")


async def test_an_incident_is_opened_updated_and_resolved(connection: asyncpg.Connection) -> None:
    opened = await incidents.publish(connection, DRAFT, author="ann")
    assert opened.status is IncidentStatus.INVESTIGATING
    assert opened.components == [Component.VPS, Component.WEB]
    assert [update.body for update in opened.updates] == ["We are looking into it."]
    assert await incidents.read_current(connection) == [opened]

    found = await change(connection, opened, status="identified", body="A switch broke.", impact="minor")
    assert (found.status, found.impact) == (IncidentStatus.IDENTIFIED, Impact.MINOR)
    assert [update.body for update in found.updates] == ["A switch broke.", "We are looking into it."]

    resolved = await change(connection, opened, status="resolved")
    assert resolved.closed_at is not None
    assert resolved.updates[0].body == "The status is now: resolved."
    assert await incidents.read_current(connection) == []
    assert await incidents.read(connection, IncidentId(opened.id)) == resolved

    again = await change(connection, opened, status="monitoring", body="It is back.")
    assert again.closed_at is None
    assert await incidents.read_current(connection) == [again]


async def test_a_changed_title_is_not_an_update(connection: asyncpg.Connection) -> None:
    opened = await incidents.publish(connection, DRAFT, author="ann")
    changed = await change(connection, opened, title="  Disks are slow ")
    assert changed.title == "Disks are slow"
    assert changed.updates == opened.updates


async def test_a_maintenance_begins_and_ends_on_schedule(connection: asyncpg.Connection) -> None:
    planned = await plan(connection)
    assert planned.status is IncidentStatus.SCHEDULED
    assert await incidents.read_current(connection) == [planned]

    await shift_session(connection, HOUR + timedelta(seconds=1))
    (begun,) = await incidents.read_current(connection)
    assert begun.status is IncidentStatus.IN_PROGRESS
    assert begun.updates[0].created_at == begun.updated_at == planned.starts_at
    assert [update.status for update in begun.updates] == ["in_progress", "scheduled"]

    await shift_session(connection, 3 * HOUR + timedelta(seconds=1))
    assert await incidents.read_current(connection) == []
    over = await incidents.read(connection, IncidentId(planned.id))
    assert over.status is IncidentStatus.COMPLETED
    assert over.closed_at == over.updated_at == planned.ends_at
    assert [update.status for update in over.updates] == ["completed", "in_progress", "scheduled"]


async def test_a_maintenance_can_be_cancelled_before_and_during_it(connection: asyncpg.Connection) -> None:
    before, during = await plan(connection), await plan(connection, begins=timedelta(0))
    await change(connection, before, status="cancelled", body="No disks came.")
    cancelled = await change(connection, during, status="cancelled")

    assert cancelled.status is IncidentStatus.CANCELLED
    assert [update.status for update in cancelled.updates] == ["cancelled", "in_progress", "scheduled"]
    await shift_session(connection, 2 * HOUR)
    never = await incidents.read(connection, IncidentId(before.id))
    assert [update.status for update in never.updates] == ["cancelled", "scheduled"]
    assert await incidents.read_current(connection) == []


async def test_a_maintenance_can_end_early_and_late(connection: asyncpg.Connection) -> None:
    maintenance = await plan(connection, begins=timedelta(0))
    assert maintenance.ends_at is not None
    longer = await change(connection, maintenance, endsAt=maintenance.ends_at + HOUR)
    assert longer.ends_at == maintenance.ends_at + HOUR

    ended = await change(connection, maintenance, status="completed", body="Faster than thought.")
    assert ended.status is IncidentStatus.COMPLETED
    assert ended.closed_at == ended.ends_at
    assert [update.body for update in ended.updates if update.status is IncidentStatus.COMPLETED] == [
        "Faster than thought."
    ]


@pytest.mark.parametrize(
    ("begins", "length", "complaint"),
    [
        (timedelta(minutes=-10), HOUR, "in the past"),
        (HOUR, -HOUR, "ends after it begins"),
        (HOUR, timedelta(0), "ends after it begins"),
        (timedelta(minutes=-1), timedelta(seconds=30), "over already"),
        (HOUR, timedelta(days=32), "31 days at most"),
        (timedelta(days=400), HOUR, "within 366 days"),
    ],
)
async def test_an_implausible_window_is_refused(
    connection: asyncpg.Connection, begins: timedelta, length: timedelta, complaint: str
) -> None:
    with pytest.raises(ChangeRefused, match=complaint):
        await plan(connection, begins, length)
    assert await incidents.read_current(connection) == []


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"status": "cancelled"}, "cannot be cancelled"),
        ({"status": "in_progress"}, "cannot be in_progress"),
        ({"endsAt": datetime(2031, 1, 1, tzinfo=UTC)}, "no window"),
    ],
)
async def test_an_incident_cannot_be_changed_as_a_maintenance(
    connection: asyncpg.Connection, wanted: dict[str, object], complaint: str
) -> None:
    opened = await incidents.publish(connection, DRAFT, author="ann")
    with pytest.raises(ChangeRefused, match=complaint):
        await change(connection, opened, **wanted)


async def test_a_maintenance_cannot_be_changed_as_an_incident(connection: asyncpg.Connection) -> None:
    planned, begun = await plan(connection), await plan(connection, begins=timedelta(0))
    for maintenance, wanted, complaint in (
        (planned, {"status": "resolved"}, "cannot be made resolved"),
        (planned, {"status": "completed"}, "cannot be made completed"),
        (planned, {"impact": "major"}, "no impact"),
        (begun, {"startsAt": planned.starts_at}, "has begun"),
    ):
        with pytest.raises(ChangeRefused, match=complaint):
            await change(connection, maintenance, **wanted)
    await change(connection, planned, status="cancelled")
    for wanted in ({"status": "scheduled"}, {"endsAt": planned.ends_at}):
        with pytest.raises(ChangeRefused, match="stays so"):
            await change(connection, planned, **wanted)


async def test_an_unknown_incident_is_not_found(connection: asyncpg.Connection) -> None:
    with pytest.raises(NotFound):
        await incidents.read(connection, IncidentId(17))
    with pytest.raises(NotFound):
        await incidents.change(connection, IncidentId(17), IncidentChange(title="a"), author="ann")


async def test_history_comes_in_pages_newest_first(connection: asyncpg.Connection) -> None:
    ids = [(await incidents.publish(connection, DRAFT, author="ann")).id for _ in range(4)]
    ids.append((await plan(connection)).id)

    first = await incidents.read_page(connection, limit=3)
    assert [incident.id for incident in first.incidents] == ids[:1:-1]
    second = await incidents.read_page(connection, limit=3, before=first.next_before)
    assert [incident.id for incident in second.incidents] == ids[1::-1]
    assert second.next_before is None
    only = await incidents.read_page(connection, limit=3, kind=IncidentKind.MAINTENANCE)
    assert [incident.id for incident in only.incidents] == ids[-1:]


async def test_every_write_to_incidents_is_announced(
    database_url: str, connection: asyncpg.Connection
) -> None:
    opened = await incidents.publish(connection, DRAFT, author="ann")
    async with listening(database_url, Channel.INCIDENTS_CHANGED) as heard:
        await change(connection, opened, title="Disks")
        assert await heard.next() == ""
        await connection.execute("delete from incidents")
        assert await heard.next() == ""
