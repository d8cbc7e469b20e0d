"""Reads and writes documents, the same way for every endpoint."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from .compression import compress
from .field_errors import field_errors
from .problem_types import ProblemType
from .problems import RequestRefused

JSON: Final = "application/json"
# Smaller answers fit into one packet anyway.
COMPRESSED_BYTES_MIN: Final = 1024

# What a bigint column holds.
NUMBER_MAX: Final = 2**63 - 1

Wanted = TypeVar("Wanted", bound=BaseModel)


def answer(
    request: web.Request,
    document: BaseModel,
    *,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Answer with a document, compressed if it is large and the client accepts that."""
    response = web.Response(
        status=status, body=document.model_dump_json().encode(), content_type=JSON, headers=headers
    )
    compress_larger(request, response)
    return response


def compress_larger(request: web.Request, response: web.Response) -> None:
    if isinstance(response.body, bytes) and len(response.body) >= COMPRESSED_BYTES_MIN:
        compress(request, response)


async def read_document(request: web.Request, model: type[Wanted]) -> Wanted:
    """Read the request's JSON. Error messages never quote its values: one may be a secret."""
    if request.content_type != JSON:
        raise RequestRefused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"This takes {JSON}.", headers={"Accept-Post": JSON}
        )
    body = await request.read()
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        errors = field_errors(error, _read_as_far_as_possible(body))
        detail = "; ".join(f"{each.pointer.lstrip('/') or 'document'}: {each.detail}" for each in errors)
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors) from None


def _read_as_far_as_possible(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def whole_number(request: web.Request, name: str, *, most: int = NUMBER_MAX) -> int | None:
    """Read a number above zero from the query; None when it is absent."""
    texts = request.query.getall(name, [])
    if not texts:
        return None
    text = texts[0]
    if len(texts) == 1 and text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= most:
        return int(text)
    raise RequestRefused(
        HTTPStatus.BAD_REQUEST,
        f"{name} takes one whole number from 1 to {most}.",
        problem=ProblemType.INVALID_PARAMETER,
    )
