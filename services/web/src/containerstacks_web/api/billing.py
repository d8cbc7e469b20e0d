"""The runs of billing, for administrators."""

from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from yarl import URL

from containerstacks_shared.billing import run_records
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import assert_may
from containerstacks_web.http.exchange import answer, whole_number

from .documents import BillingRunsDocument

RUNS_MAX: Final = 200
RUNS_USUAL: Final = 50


async def runs(request: web.Request) -> web.Response:
    """List runs, newest first. Pages are told apart by the last id seen, so a new run shifts none of them."""
    assert_may(request, Permission.READ)
    limit = whole_number(request, "limit", most=RUNS_MAX) or RUNS_USUAL
    before = whole_number(request, "before")
    async with lend(request.app[POOL]) as connection:
        now = datetime.now(UTC)
        page = await run_records.page(connection, before=before, limit=limit)
    headers = {}
    if page.has_older:
        # Relative, so that no header of a request decides where it leads.
        following = URL.build(path=request.path, query={"limit": limit, "before": page.runs[-1].run_id})
        headers["Link"] = f'<{following}>; rel="next"'
    return answer(request, BillingRunsDocument(timestamp=now, runs=page.runs), headers=headers)
