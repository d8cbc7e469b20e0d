"""/api/audit-log: who did what, for administrators and staff."""

from aiohttp import web

from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import action_log
from containerstacks_shared.fleet.action_log import LoggedAction
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import assert_may
from containerstacks_web.http.exchange import answer, whole_number
from containerstacks_web.http.paging import link_to_next, page_limit

from .documents import Answer


class AuditLogDocument(Answer):
    """Newest first; the header `Link` leads to the page after."""

    actions: list[LoggedAction]


async def read_log(request: web.Request) -> web.Response:
    assert_may(request, Permission.READ)
    limit, before = page_limit(request), whole_number(request, "before")
    async with lend(request.app[POOL]) as connection:
        actions, has_older = await action_log.page(connection, limit=limit, before=before)
    headers = link_to_next(request, limit=limit, before=actions[-1].id) if has_older else {}
    return answer(request, AuditLogDocument(actions=actions), headers=headers)
