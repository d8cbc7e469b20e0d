"""/api/alerts: alerts, and whether they were delivered; for administrators and staff."""

from aiohttp import web

from containerstacks_shared.alerts import records
from containerstacks_shared.core.documents import Count, Document, Timestamp
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import assert_may
from containerstacks_web.http.exchange import answer, whole_number
from containerstacks_web.http.paging import cut_page, page_limit

from .documents import Answer


class AlertDocument(Document):
    """`openedAt` is null until it has been so for long enough, `resolvedAt` until it is over.

    `delivered`, `waiting` and `givenUp` count messages to receivers; `attempts` and `lastError` are of what waits.
    """

    id: int
    kind: str
    subject: str
    summary: str
    noticed_at: Timestamp
    opened_at: Timestamp | None
    resolved_at: Timestamp | None
    delivered: Count
    waiting: Count
    given_up: Count
    attempts: Count | None
    last_error: str | None


class AlertsDocument(Answer):
    """Newest first; the header `Link` leads to the page after."""

    alerts: list[AlertDocument]


async def read_alerts(request: web.Request) -> web.Response:
    assert_may(request, Permission.READ)
    limit, before = page_limit(request), whole_number(request, "before")
    async with lend(request.app[POOL]) as connection:
        found = await records.read_page(connection, limit=limit + 1, before=before)
    shown, headers = cut_page(request, found, limit=limit, cursor="before", name=lambda alert: alert.id)
    listed = [AlertDocument(**vars(alert)) for alert in shown]
    return answer(request, AlertsDocument(alerts=listed), headers=headers)
