"""The pages about the API, rendered from its description: how to call what, and what can go wrong."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from aiohttp import web
from markupsafe import Markup, escape

from containerstacks_web.http.problem_types import BY_NAME, PROBLEMS_PREFIX, ProblemType
from containerstacks_web.http.problems import FieldError, RequestRefused, describe_problem
from containerstacks_web.rendering.templates import render_part, render_with_etag
from containerstacks_web.settings import SETTINGS

from .examples import PYTHON_SETUP, SHELL_SETUP, curl_call, example_answers, python_call
from .openapi import API_DESCRIPTION, ApiDescription, routed
from .operation import Operation, Parameter, Tag
from .type_names import Part, type_name, type_parts

PROBLEM_PATH: Final = PROBLEMS_PREFIX + "{name}"
_CODE: Final = re.compile("`([^`]+)`")
_SOMEWHERE: Final = "https://status.example.com"


@dataclass(frozen=True)
class ShownParameter:
    name: str
    takes: str
    meaning: str
    required: bool


@dataclass(frozen=True)
class Call:
    """One endpoint; `answer` names the document that it answers with, if that has a name; `example` is one."""

    method: str
    path: str
    operation: Operation
    parameters: list[ShownParameter]
    answer: str | None
    curl: str
    python: str
    example: str | None


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    explanation: str
    calls: list[Call]


@dataclass(frozen=True)
class Field:
    name: str
    parts: list[Part]


@dataclass(frozen=True)
class Schema:
    description: str
    fields: list[Field]


async def docs_page(request: web.Request) -> web.Response:
    contents = _contents(request.app[API_DESCRIPTION], request.app[SETTINGS].public_address or _SOMEWHERE)
    # Large, and the same as long as this process runs.
    body = render_part(request, "parts/api_docs.html", contents, subject=contents)
    return await render_with_etag(request, "api_docs.html", {"body": body})


async def problem_page(request: web.Request) -> web.Response:
    """Explain one kind of problem: what `type` of every refusal leads to."""
    problem = BY_NAME.get(request.match_info["name"])
    if problem is None:
        raise web.HTTPNotFound
    context = {"problem": problem.value, "uri": problem.uri, "with_code": with_code}
    return await render_with_etag(request, "problem.html", context)


async def problems_index(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/api/docs#errors")


def with_code(text: str) -> Markup:
    """Mark up text between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just before


@lru_cache(maxsize=1)
def _contents(description: ApiDescription, site: str) -> Mapping[str, object]:
    api = description.document
    return {
        "api": api,
        "sections": _sections(description.router, api),
        "schemas": _schemas(api),
        "problems": list(ProblemType),
        "problem_example": _problem_example(),
        "shell_setup": SHELL_SETUP.format(site=site),
        "python_setup": PYTHON_SETUP.format(site=site),
        "with_code": with_code,
    }


def _sections(router: web.UrlDispatcher, api: Any) -> list[Section]:
    calls = [_call(path, method, operation, api) for path, method, operation in routed(router)]
    return [
        Section(
            id=tag.name.lower(),
            title=tag.value,
            explanation=tag.explanation,
            calls=[call for call in calls if call.operation.tag is tag],
        )
        for tag in Tag
    ]


def _call(path: str, method: str, operation: Operation, api: Any) -> Call:
    answer = api["paths"][path][method]["responses"][str(operation.status)]
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return Call(
        method=method.upper(),
        path=path,
        operation=operation,
        parameters=[_parameter(parameter) for parameter in operation.parameters],
        answer=type_name(schema) if "$ref" in schema else None,
        curl=curl_call(method, path, operation),
        python=python_call(method, path, operation),
        example=_example(operation),
    )


def _example(operation: Operation) -> str | None:
    example = example_answers().get(operation.operation_id)
    return example if example is None or isinstance(example, str) else json.dumps(example, indent=2)


def _parameter(parameter: Parameter) -> ShownParameter:
    schema = parameter.schema
    takes = " or ".join(schema["enum"]) if "enum" in schema else type_name(schema)
    if "maximum" in schema and "default" in schema:
        takes = f"1 to {schema['maximum']}"
    if "default" in schema:
        takes += f"; {schema['default']} if absent"
    required = parameter.required or parameter.place == "path"
    return ShownParameter(parameter.name, takes, parameter.description, required)


def _schemas(api: Any) -> dict[str, Schema]:
    return {
        name: Schema(
            description=" ".join(schema.get("description", "").split()),
            fields=[Field(field, list(type_parts(value))) for field, value in schema["properties"].items()],
        )
        for name, schema in sorted(api["components"]["schemas"].items())
        if "properties" in schema
    }


def _problem_example() -> str:
    wrong = FieldError(pointer="/title", detail="Must not be empty.")
    refused = RequestRefused(ProblemType.INVALID_DOCUMENT, "title: Must not be empty.", errors=[wrong])
    document = describe_problem(refused, "1f0c3d52-7a9e-4b1c-8c57-0f6f6d0e4a21")
    return json.dumps(json.loads(document), indent=2)
