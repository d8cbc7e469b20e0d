"""What goes wrong with a request, as RFC 9457 problem details for programs and as a page for people."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Final, Protocol

from aiohttp import web
from pydantic import ConfigDict, Field

from containerstacks_shared.core.documents import Document

from .paths import is_for_programs
from .problem_types import ProblemType
from .request_ids import REQUEST_ID

CONTENT_TYPE = "application/problem+json"


class ErrorPage(Protocol):
    """Renders what went wrong for a person; `reference` finds the request in the log."""

    async def __call__(
        self, request: web.Request, problem: ProblemType, status: HTTPStatus, *, detail: str, reference: str
    ) -> web.Response: ...


# Set by the application, because pages are above this layer.
ERROR_PAGE: Final[web.AppKey[ErrorPage]] = web.AppKey("error_page")


class FieldError(Document):
    """What is wrong with one value of the document that was sent; `pointer` is a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class Problem(Document):
    """What went wrong (RFC 9457). `type` is for programs, and the address of a page that explains it.

    `success` is there for front ends that look for it in every answer; `errors` only where a document is wrong.
    """

    # The only document that omits fields.
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    type: Annotated[
        str,
        Field(
            json_schema_extra={"enum": [problem.uri for problem in ProblemType]},
            examples=[ProblemType.INVALID_PARAMETER.uri],
        ),
    ]
    title: Annotated[str, Field(examples=[ProblemType.INVALID_PARAMETER.value.title])]
    status: Annotated[int, Field(examples=[int(HTTPStatus.BAD_REQUEST)])]
    detail: Annotated[str, Field(examples=["limit takes one whole number from 1 to 200."])]
    request_id: str
    success: bool = False
    errors: list[FieldError] | None = None


class RequestRefused(Exception):  # noqa: N818 - what happened, not what broke
    """A request that cannot be answered as asked; the message says why.

    `status` is the problem's own, unless aiohttp chose one that no problem has.
    """

    def __init__(
        self,
        problem: ProblemType,
        detail: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail
        self.status = problem.value.status if status is None else HTTPStatus(status)
        self.headers = dict(headers or {})
        self.errors = list(errors)


async def problem_response(
    request: web.Request, refused: RequestRefused, *, reference: str | None = None
) -> web.Response:
    """Answer with what went wrong.

    `reference` finds the request in the log, and is its id unless the answer is for more than one.
    """
    reference = reference or request[REQUEST_ID]
    if wants_page(request):
        response = await request.app[ERROR_PAGE](
            request, refused.problem, refused.status, detail=refused.detail, reference=reference
        )
    else:
        body = describe_problem(refused, reference)
        response = web.Response(status=refused.status, body=body, content_type=CONTENT_TYPE)
    response.headers.update(refused.headers)
    response.headers["Cache-Control"] = "no-store"
    return response


def describe_problem(refused: RequestRefused, request_id: str) -> bytes:
    document = Problem(
        type=refused.problem.uri,
        title=refused.problem.value.title,
        status=refused.status,
        detail=refused.detail,
        request_id=request_id,
        errors=refused.errors or None,
    )
    return document.model_dump_json(exclude_none=True).encode()


def wants_page(request: web.Request) -> bool:
    return not is_for_programs(request.path) and "text/html" in request.headers.get("Accept", "")
