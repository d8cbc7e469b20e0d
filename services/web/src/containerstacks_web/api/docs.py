"""The API's description as pages: rendered here from the OpenAPI document, nothing loaded from elsewhere."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from markupsafe import Markup, escape

from containerstacks_web.http.problem_types import BY_NAME, PROBLEMS_PREFIX, ProblemType
from containerstacks_web.rendering.templates import render_named

from .openapi import API_DESCRIPTION

_REFERENCE_PREFIX: Final = "#/components/schemas/"
_CODE: Final = re.compile("`([^`]+)`")


@dataclass(frozen=True)
class Field:
    name: str
    type: str


async def docs_page(request: web.Request) -> web.Response:
    api = request.app[API_DESCRIPTION].document
    schemas = {
        name: [Field(field, type_name(value)) for field, value in schema.get("properties", {}).items()]
        for name, schema in api["components"]["schemas"].items()
        if "properties" in schema
    }
    context = {
        "api": api,
        "schemas": schemas,
        "problems": [problem.value for problem in ProblemType],
        "type_name": type_name,
        "with_code": with_code,
    }
    return await render_named(request, "api_docs.html", context)


async def problem_page(request: web.Request) -> web.Response:
    """Explain one kind of problem: what `type` of every refusal leads to."""
    problem = BY_NAME.get(request.match_info["name"])
    if problem is None:
        raise web.HTTPNotFound
    context = {"problem": problem.value, "uri": problem.uri, "with_code": with_code}
    return await render_named(request, "problem.html", context)


async def problems_index(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/api/docs#errors")


PROBLEM_PATH: Final = PROBLEMS_PREFIX + "{name}"


def with_code(text: str) -> Markup:
    """Mark up what stands between backticks."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just before


def type_name(schema: dict[str, Any]) -> str:
    """Say in a few words what a JSON schema allows."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.removeprefix(_REFERENCE_PREFIX)
        case {"const": value}:
            name = f"always {json.dumps(value)}"
        case {"anyOf": list(choices)}:
            name = " or ".join(type_name(choice) for choice in choices)
        case {"type": "array", "items": items}:
            name = f"list of {type_name(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            name = f"object of {type_name(values)} by name"
        case {"type": str(plain), "format": str(form)}:
            name = f"{plain} ({form})"
        case {"type": str(plain)}:
            name = plain
        case _:
            name = "anything"
    return name
