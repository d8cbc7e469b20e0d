"""Reads and writes documents, the same way for every endpoint."""

import json
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Final, TypeVar
from uuid import UUID

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
            ProblemType.UNSUPPORTED_MEDIA_TYPE, f"This takes {JSON}.", headers={"Accept-Post": JSON}
        )
    body = await request.read()
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        errors = field_errors(error, _read_as_far_as_possible(body))
        detail = "; ".join(f"{each.pointer.lstrip('/') or 'document'}: {each.detail}" for each in errors)
        raise RequestRefused(ProblemType.INVALID_DOCUMENT, detail, errors=errors) from None


def _read_as_far_as_possible(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


Choice = TypeVar("Choice", bound=StrEnum)


def number_in_path(request: web.Request) -> int:
    """Read the `{id}` of an address. Raises `HTTPNotFound` for what no bigint column holds."""
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > NUMBER_MAX:
        raise web.HTTPNotFound
    return int(text[:20])


def parse_id(text: str) -> UUID:
    """Raises `HTTPNotFound` for text that is no id."""
    try:
        return UUID(text)
    except ValueError:
        raise web.HTTPNotFound from None


def choice_in_query(request: web.Request, name: str, choices: type[Choice]) -> Choice:
    """Read one of a few words from the query."""
    try:
        return choices(request.query[name])
    except ValueError:
        detail = f"{name} takes one of {', '.join(choices)}."
        raise RequestRefused(ProblemType.INVALID_PARAMETER, detail) from None


def whole_number(request: web.Request, name: str, *, most: int = NUMBER_MAX) -> int | None:
    """Read a number above zero from the query; None when it is absent."""
    texts = request.query.getall(name, [])
    if not texts:
        return None
    text = texts[0]
    if len(texts) == 1 and text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= most:
        return int(text)
    raise RequestRefused(
        ProblemType.INVALID_PARAMETER,
        f"{name} takes one whole number from 1 to {most}.",
    )
