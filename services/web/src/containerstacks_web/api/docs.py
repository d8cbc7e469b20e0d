"""The API's description as a page: rendered here from the OpenAPI document, nothing loaded from elsewhere."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from markupsafe import Markup, escape

from containerstacks_web.rendering.templates import render

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
    context = {"api": api, "schemas": schemas, "type_name": type_name, "with_code": with_code}
    return await render(request, "api_docs.html", context)


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
        case {"type": "object", "additionalProperties": values}:
            name = f"object of {type_name(values)} by name"
        case {"type": str(plain)}:
            name = plain
        case _:
            name = "anything"
    return name
