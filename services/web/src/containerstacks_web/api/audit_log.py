"""/api/audit-log: who did what, for administrators."""

from datetime import UTC, datetime
from typing import Final, Literal

from aiohttp import hdrs, web
from yarl import URL

from containerstacks_shared.core.documents import Document, Timestamp
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import action_log
from containerstacks_shared.fleet.action_log import LoggedAction
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import assert_may
from containerstacks_web.http.exchange import answer, whole_number

ROWS_MAX: Final = 200
ROWS_USUAL: Final = 50


class AuditLogDocument(Document):
    """Newest first; the header `Link` leads to the page after."""

    success: Literal[True] = True
    timestamp: Timestamp
    actions: list[LoggedAction]


async def read_log(request: web.Request) -> web.Response:
    assert_may(request, Permission.READ)
    limit = whole_number(request, "limit", most=ROWS_MAX) or ROWS_USUAL
    before = whole_number(request, "before")
    async with lend(request.app[POOL]) as connection:
        actions, has_older = await action_log.page(connection, limit=limit, before=before)
    headers: dict[str, str] = {}
    if has_older:
        following = URL.build(path=request.path, query={"limit": limit, "before": actions[-1].id})
        headers[hdrs.LINK] = f'<{following}>; rel="next"'
    document = AuditLogDocument(timestamp=datetime.now(UTC), actions=actions)
    return answer(request, document, headers=headers)
