"""The addresses below /api/v2, which any site's page may read."""

from typing import Final

from aiohttp import web
from pydantic import BaseModel

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.status import incidents
from containerstacks_shared.status.documents import Incident, IncidentKind, IncidentStatus
from containerstacks_web.database import POOL
from containerstacks_web.http.conditional import answer_with_etag
from containerstacks_web.http.exchange import JSON
from containerstacks_web.live.board import STATUS_BOARD
from containerstacks_web.settings import SETTINGS

from .statuspage import (
    ComponentsAnswer,
    IncidentsAnswer,
    MaintenancesAnswer,
    Shapes,
    StatusAnswer,
    SummaryAnswer,
)

# As many as Statuspage lists.
_HISTORY_MAX: Final = 50
_LISTED: Final = (IncidentStatus.SCHEDULED, IncidentStatus.IN_PROGRESS, IncidentStatus.COMPLETED)


async def summary(request: web.Request) -> web.Response:
    shapes, current = await _shapes(request)
    document = SummaryAnswer(
        page=shapes.page,
        components=shapes.components,
        incidents=shapes.incidents(current),
        scheduled_maintenances=shapes.maintenances(
            current, IncidentStatus.SCHEDULED, IncidentStatus.IN_PROGRESS
        ),
        status=shapes.status,
    )
    return _answer(request, document)


async def status(request: web.Request) -> web.Response:
    shapes, _ = await _shapes(request)
    return _answer(request, StatusAnswer(page=shapes.page, status=shapes.status))


async def components(request: web.Request) -> web.Response:
    shapes, _ = await _shapes(request)
    return _answer(request, ComponentsAnswer(page=shapes.page, components=shapes.components))


async def all_incidents(request: web.Request) -> web.Response:
    shapes, _ = await _shapes(request)
    listed = shapes.incidents(await _history(request, IncidentKind.INCIDENT))
    return _answer(request, IncidentsAnswer(page=shapes.page, incidents=listed))


async def unresolved_incidents(request: web.Request) -> web.Response:
    shapes, current = await _shapes(request)
    return _answer(request, IncidentsAnswer(page=shapes.page, incidents=shapes.incidents(current)))


async def all_maintenances(request: web.Request) -> web.Response:
    shapes, _ = await _shapes(request)
    listed = shapes.maintenances(await _history(request, IncidentKind.MAINTENANCE), *_LISTED)
    return _answer(request, MaintenancesAnswer(page=shapes.page, scheduled_maintenances=listed))


async def upcoming_maintenances(request: web.Request) -> web.Response:
    return await _current_maintenances(request, IncidentStatus.SCHEDULED)


async def active_maintenances(request: web.Request) -> web.Response:
    return await _current_maintenances(request, IncidentStatus.IN_PROGRESS)


async def _current_maintenances(request: web.Request, status: IncidentStatus) -> web.Response:
    shapes, current = await _shapes(request)
    listed = shapes.maintenances(current, status)
    return _answer(request, MaintenancesAnswer(page=shapes.page, scheduled_maintenances=listed))


async def _shapes(request: web.Request) -> tuple[Shapes, list[Incident]]:
    board = await request.app[STATUS_BOARD].current()
    settings = request.app[SETTINGS]
    shapes = Shapes(board, company_name=settings.company_name, public_url=settings.public_address)
    return shapes, list(board.current)


async def _history(request: web.Request, kind: IncidentKind) -> list[Incident]:
    latest = (await request.app[STATUS_BOARD].current()).latest
    if latest.next_before is None:
        return latest.incidents
    async with lend(request.app[POOL]) as connection:
        return (await incidents.read_page(connection, limit=_HISTORY_MAX, kind=kind)).incidents


def _answer(request: web.Request, document: BaseModel) -> web.Response:
    body = document.model_dump_json().encode()
    return answer_with_etag(request, body, content_type=JSON, is_for_other_sites=True)
