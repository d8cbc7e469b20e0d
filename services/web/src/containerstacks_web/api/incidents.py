"""/api/incidents and /api/status/components: everybody reads, administrators open, update and close."""

from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field, RootModel

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_shared.status import incidents
from containerstacks_shared.status.documents import IncidentId, IncidentKind
from containerstacks_shared.status.incident_drafts import IncidentChange, IncidentDraft, MaintenanceDraft
from containerstacks_web.actions import incidents as actions
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import assert_may
from containerstacks_web.http.conditional import answer_with_etag
from containerstacks_web.http.exchange import (
    JSON,
    answer,
    choice_in_query,
    number_in_path,
    read_document,
    whole_number,
)
from containerstacks_web.http.paging import link_to_next, page_limit
from containerstacks_web.live.board import PAGE_INCIDENTS, STATUS_BOARD

from .documents import ComponentsDocument, IncidentDocument, IncidentsDocument

INCIDENTS_MAX: Final = 100
_PATH: Final = "/api/incidents"


class IncidentRequest(RootModel[Annotated[IncidentDraft | MaintenanceDraft, Field(discriminator="kind")]]):
    """An incident to open, or a maintenance to plan."""


async def read_components(request: web.Request) -> web.Response:
    """Report the state of each component, its uptime, and its last 90 days."""
    board = await request.app[STATUS_BOARD].current()
    document = ComponentsDocument(
        last_updated=board.read_at,
        stale=board.stale,
        overall=board.overall,
        components=list(board.components),
    )
    etag_source = document.model_dump_json(include={"stale", "overall", "components"}).encode()
    return answer_with_etag(
        request, document.model_dump_json().encode(), content_type=JSON, etag_source=etag_source
    )


async def list_incidents(request: web.Request) -> web.Response:
    """List incidents and maintenance; the next page is in the Link header."""
    limit = page_limit(request, usual=PAGE_INCIDENTS, most=INCIDENTS_MAX)
    before = whole_number(request, "before")
    kind = choice_in_query(request, "kind", IncidentKind) if "kind" in request.query else None
    if (limit, before, kind) == (PAGE_INCIDENTS, None, None):
        page = (await request.app[STATUS_BOARD].current()).latest
    else:
        async with lend(request.app[POOL]) as connection:
            cursor = None if before is None else IncidentId(before)
            page = await incidents.read_page(connection, limit=limit, before=cursor, kind=kind)
    document = IncidentsDocument(incidents=page.incidents)
    response = answer_with_etag(
        request,
        document.model_dump_json().encode(),
        content_type=JSON,
        etag_source=document.model_dump_json(include={"incidents"}).encode(),
    )
    if page.next_before is not None:
        chosen = {} if kind is None else {"kind": kind.value}
        response.headers.update(link_to_next(request, limit=limit, before=page.next_before, **chosen))
    return response


async def read_incident(request: web.Request) -> web.Response:
    async with lend(request.app[POOL]) as connection:
        incident = await incidents.read(connection, IncidentId(number_in_path(request)))
    document = IncidentDocument(incident=incident)
    return answer_with_etag(request, document.model_dump_json().encode(), content_type=JSON)


async def open_incident(request: web.Request) -> web.Response:
    """Open an incident, or plan a maintenance."""
    identity = assert_may(request, Permission.PUBLISH)
    draft = (await read_document(request, IncidentRequest)).root
    async with lend(request.app[POOL]) as connection:
        incident = await actions.publish(connection, draft, identity)
    headers = {"Location": f"{_PATH}/{incident.id}"}
    return answer(request, IncidentDocument(incident=incident), status=HTTPStatus.CREATED, headers=headers)


async def change_incident(request: web.Request) -> web.Response:
    """Update or close an incident; change, end or cancel a maintenance."""
    identity = assert_may(request, Permission.PUBLISH)
    incident_id = IncidentId(number_in_path(request))
    wanted = await read_document(request, IncidentChange)
    async with lend(request.app[POOL]) as connection:
        incident = await actions.change(connection, incident_id, wanted, identity)
    return answer(request, IncidentDocument(incident=incident))
