"""What goes wrong with a request, as RFC 9457 problem details for programs and as a page for people."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web

from containerstacks_shared.core.documents import Document

from .paths import is_for_programs
from .request_ids import REQUEST_ID

CONTENT_TYPE = "application/problem+json"


class ErrorPage(Protocol):
    """Renders what went wrong for a person; `reference` finds the request in the log."""

    async def __call__(
        self, request: web.Request, status: HTTPStatus, *, detail: str, reference: str
    ) -> web.Response: ...


# Given by whoever knows how pages look.
ERROR_PAGE: Final[web.AppKey[ErrorPage]] = web.AppKey("error_page")


class FieldError(Document):
    """What is wrong with one value of the document that was sent; `pointer` is a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class Problem(Document):
    """`success` is there for front ends that look for it in every answer; `errors` only where a document is wrong."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str
    success: bool = False
    errors: list[FieldError] | None = None


class RequestRefused(Exception):  # noqa: N818 - what happened, not what broke
    """A request that cannot be answered as asked; the message tells the visitor why."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail)
        self.errors = list(errors)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


async def problem_response(
    request: web.Request,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldError] = (),
) -> web.Response:
    status = HTTPStatus(status)
    reference = request[REQUEST_ID]
    if wants_page(request):
        response = await request.app[ERROR_PAGE](request, status, detail=detail, reference=reference)
    else:
        body = describe_problem(status, detail, reference, errors=errors)
        response = web.Response(status=status, body=body, content_type=CONTENT_TYPE)
    response.headers.update(headers or {})
    response.headers["Cache-Control"] = "no-store"
    return response


def describe_problem(
    status: HTTPStatus, detail: str, request_id: str, *, errors: Sequence[FieldError] = ()
) -> bytes:
    problem = Problem(
        title=status.phrase,
        status=status,
        detail=detail,
        request_id=request_id,
        errors=list(errors) or None,
    )
    return problem.model_dump_json(exclude_none=True).encode()


def wants_page(request: web.Request) -> bool:
    return not is_for_programs(request.path) and "text/html" in request.headers.get("Accept", "")
