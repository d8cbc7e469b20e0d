"""/incidents: the history by month, and a page for each incident and maintenance that keeps its address for good."""

from datetime import MAXYEAR, UTC, datetime
from typing import Final

from aiohttp import web

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.status import incidents
from containerstacks_shared.status.documents import IncidentId
from containerstacks_web.database import POOL
from containerstacks_web.http.exchange import number_in_path
from containerstacks_web.rendering.templates import render_with_etag

_SECONDS_MAX: Final = 3.0


async def show_month(request: web.Request) -> web.Response:
    now = datetime.now(UTC)
    month = _month(request.query.get("month"), now)
    async with lend(request.app[POOL], within=_SECONDS_MAX) as connection:
        found = await incidents.read_between(connection, month, _following(month))
        first = await incidents.read_first_moment(connection)
    context = {
        "month": month,
        "incidents": found,
        "cut_off": len(found) == incidents.MONTH_MAX,
        "earlier": _before(month) if first is not None and first < month else None,
        "later": _following(month) if _following(month) <= now else None,
    }
    return await render_with_etag(request, "incidents.html", context, etag_source=context)


async def show(request: web.Request) -> web.Response:
    async with lend(request.app[POOL], within=_SECONDS_MAX) as connection:
        incident = await incidents.read(connection, IncidentId(number_in_path(request)))
    return await render_with_etag(request, "incident.html", {"incident": incident}, etag_source=incident)


def _month(text: str | None, now: datetime) -> datetime:
    if text is None:
        return datetime(now.year, now.month, 1, tzinfo=UTC)
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise web.HTTPNotFound from None


def _following(month: datetime) -> datetime:
    if (month.year, month.month) == (MAXYEAR, 12):
        raise web.HTTPNotFound
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def _before(month: datetime) -> datetime:
    """There is a first incident before `month`, so this is no year 0."""
    return month.replace(year=month.year - (month.month == 1), month=(month.month - 2) % 12 + 1)
