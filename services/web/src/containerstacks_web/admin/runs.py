"""/admin/runs: the billing runs, and what each of them left unpaid."""

from typing import Final

from aiohttp import web
from yarl import URL

from containerstacks_shared.billing import run_debts, run_records
from containerstacks_shared.billing.documents import RunStatus
from containerstacks_shared.billing.owed_hours import read_owed_hours
from containerstacks_web.http.exchange import choice_in_query, number_in_path, whole_number
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render

from .access import database

_PATH: Final = "/admin/runs"
_RUNS_ON_PAGE: Final = 50
_DEBTS_SHOWN: Final = 200


async def show_list(request: web.Request, _identity: Identity) -> web.Response:
    outcome = choice_in_query(request, "outcome", RunStatus) if request.query.get("outcome") else None
    before, after = whole_number(request, "before"), whole_number(request, "after")
    async with database(request) as connection:
        page = await run_records.page(
            connection, limit=_RUNS_ON_PAGE, before=before, after=after, status=outcome
        )
    context = {
        "runs": page.runs,
        "outcome": outcome,
        "outcomes": list(RunStatus),
        "newer": _beyond(outcome, after=page.runs[0].run_id) if page.runs and page.has_newer else None,
        "older": _beyond(outcome, before=page.runs[-1].run_id) if page.runs and page.has_older else None,
    }
    return await render(request, "admin/runs.html", context)


async def show(request: web.Request, _identity: Identity) -> web.Response:
    async with database(request) as connection:
        run = await run_records.find(connection, number_in_path(request))
        debts = await run_debts.read_opened(connection, run.record, limit=_DEBTS_SHOWN)
        # Reads every instance, so only while the run goes on.
        goes_on = run.record.status is RunStatus.RUNNING
        owed = await read_owed_hours(connection) if goes_on else None
    context = {
        "run": run.record,
        "hours_left": None if owed is None else max(0, owed.hours - owed.hours_unpaid),
        "problems": run.problems,
        "debts": debts,
        "cut_off": len(debts) == _DEBTS_SHOWN,
    }
    return await render(request, "admin/run.html", context)


def _beyond(outcome: RunStatus | None, **cursor: int) -> str:
    query: dict[str, str | int] = {**cursor} if outcome is None else {"outcome": outcome.value, **cursor}
    return str(URL.build(path=_PATH, query=query))
