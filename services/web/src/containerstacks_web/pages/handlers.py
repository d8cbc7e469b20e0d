"""The pages. Reading the status costs no query: it is the process's snapshot, marked stale when it is old."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from aiohttp import web

from containerstacks_shared.billing.control import read_control
from containerstacks_shared.core.errors import DatabaseUnavailable
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet.platform import PlatformStatistics
from containerstacks_web.database import POOL
from containerstacks_web.http.headers import PUBLIC_CACHING
from containerstacks_web.http.identity import IDENTITY, CredentialKind
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.live.admin_sockets import ADMIN_SOCKETS
from containerstacks_web.live.board import STATUS_BOARD, Board
from containerstacks_web.live.feed import SNAPSHOT_FEED
from containerstacks_web.live.history import HISTORY
from containerstacks_web.live.platform_statistics import PLATFORM_STATISTICS, PlatformFigures
from containerstacks_web.live.snapshot import StatusSnapshot
from containerstacks_web.rendering.details import Details, present_details
from containerstacks_web.rendering.templates import render, render_anonymous, render_part, render_with_etag
from containerstacks_web.sign_in.csrf import csrf_token
from containerstacks_web.sign_in.local_path import local_path

from .history import ChartRange, fleet_sparkline, present_history
from .incidents import published
from .presenter import StatusPage, present_about, present_status

# The public part of the page does not wait any longer for the rest.
_READ_SECONDS_MAX: Final = 3.0


async def index(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/status")


async def status(request: web.Request) -> web.StreamResponse:
    feed = request.app[SNAPSHOT_FEED]
    try:
        snapshot = await feed.current()
    except DatabaseUnavailable:
        snapshot = None
    board = request.app[STATUS_BOARD].board
    page = present_status(snapshot, board, age_seconds=feed.age_seconds(), now=datetime.now(UTC))
    for_admin = request[IDENTITY].sees_details
    context = {
        **_parts(request, page, board, for_admin=for_admin),
        "details": await _details(request) if for_admin else None,
    }
    # External monitoring of this address should notice that there is no status to show.
    known = snapshot is not None
    response = await render(
        request, "status.html", context, status=HTTPStatus.OK if known else HTTPStatus.SERVICE_UNAVAILABLE
    )
    if known:
        response.headers["Cache-Control"] = PUBLIC_CACHING
    return response


async def public_status(request: web.Request, snapshot: StatusSnapshot) -> bytes:
    """Render the page as anonymous visitors see it."""
    age_seconds = request.app[SNAPSHOT_FEED].age_seconds()
    board = request.app[STATUS_BOARD].board
    page = present_status(snapshot, board, age_seconds=age_seconds, now=datetime.now(UTC))
    context = {**_parts(request, page, board, for_admin=False), "details": None}
    return await render_anonymous(request, "status.html", context)


async def about(request: web.Request) -> web.StreamResponse:
    figures: PlatformFigures[PlatformStatistics] | None
    past = request.app[HISTORY].latest
    try:
        figures = await request.app[PLATFORM_STATISTICS].read()
    except DatabaseUnavailable:
        figures = None
    context = {
        "figures": present_about(None if figures is None else figures.value),
        "taken_at": None if figures is None else figures.taken_at,
        "stale": figures is None or figures.stale,
        "fleet": fleet_sparkline(past),
    }
    if figures is None:
        return await render(request, "about.html", context, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return await render_with_etag(
        request,
        "about.html",
        context,
        etag_source=(figures.taken_at, figures.stale, None if past is None else past.as_of),
    )


async def login_form(request: web.Request) -> web.StreamResponse:
    target = request.query.get("next", "")
    if request[IDENTITY].credential is CredentialKind.SESSION:
        raise web.HTTPFound(local_path(target))
    return await login_page(request, target=target)


async def sign_out_everywhere_form(request: web.Request) -> web.StreamResponse:
    if request[IDENTITY].credential is not CredentialKind.SESSION:
        raise web.HTTPSeeOther("/login")
    return await render(request, "sign_out_everywhere.html", {})


async def login_page(
    request: web.Request,
    *,
    problem: str | None = None,
    email: str = "",
    target: str = "",
    status: int = HTTPStatus.OK,
) -> web.Response:
    """Render the form again after a refusal, saying why and keeping the address that was typed."""
    form_token = await csrf_token(request)
    context = {
        "problem": problem,
        "email": email,
        "target": target,
        "form_token": form_token,
        "signed_out": request.query.get("signed-out", ""),
    }
    return await render(request, "login.html", context, status=status)


async def error_page(
    request: web.Request, problem: ProblemType, status: HTTPStatus, *, detail: str, reference: str
) -> web.Response:
    """Render what went wrong for a person; `reference` finds the request in the log."""
    context = {"problem": problem.value, "status": status.value, "detail": detail, "reference": reference}
    return await render(request, "error.html", context, status=status)


def _parts(
    request: web.Request, page: StatusPage, board: Board | None, *, for_admin: bool
) -> Mapping[str, object]:
    chosen = ChartRange.of(request)
    past = present_history(request.app[HISTORY].latest, chosen)
    shown = {
        "page": page,
        "board": board,
        "published": None if board is None else published(board),
        "chosen_range": chosen,
        "past": past,
        "for_admin": for_admin,
    }
    # How long a run took is no visitor's concern, so each has a rendering of their own.
    history_variant = f"{chosen} for {'administrators' if for_admin else 'visitors'}"
    return {
        "page": page,
        "for_admin": for_admin,
        "current": render_part(request, "parts/current.html", shown, subject=board),
        "components": render_part(request, "parts/components.html", shown, subject=board),
        "history": render_part(request, "parts/history.html", shown, subject=past, variant=history_variant),
        "past": render_part(request, "parts/past.html", shown, subject=board),
    }


async def _details(request: web.Request) -> Details | None:
    try:
        async with lend(request.app[POOL], within=_READ_SECONDS_MAX) as connection:
            read = await request.app[ADMIN_SOCKETS].read_details(connection)
            control = await read_control(connection)
    except db.UNAVAILABLE:
        return None
    return present_details(read.vps, read.daemon, control)
