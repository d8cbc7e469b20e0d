"""The API's description in OpenAPI 3.1, made from the same models that make the answers."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from containerstacks_shared.db import application_version
from containerstacks_shared.models import (
    DaemonStatusDocument,
    HealthDocument,
    PlatformStatisticsDocument,
    StatusMessage,
    VpsStatisticsDocument,
)
from containerstacks_web.keys import SETTINGS
from containerstacks_web.problems import CONTENT_TYPE, Problem


@dataclass(frozen=True)
class Operation:
    """One GET endpoint. `cached` ones carry an ETag; those that `may_be_unavailable` need the database once."""

    path: str
    operation_id: str
    summary: str
    description: str
    document: type[BaseModel]
    cached: bool = True
    may_be_unavailable: bool = True


OPERATIONS: Final = (
    Operation(
        "/api/health",
        "getHealth",
        "Is the API up",
        "Answers without asking the database.",
        HealthDocument,
        cached=False,
        may_be_unavailable=False,
    ),
    Operation(
        "/api/health/stats",
        "getVpsStatistics",
        "VPS by status, and what they are allocated",
        "`lastUpdated` is when the figures were read: they were true then or later. `byStatus` sums to `total`."
        " Administrators also get raw statuses, regions, plans and plans whose specification is broken.",
        VpsStatisticsDocument,
    ),
    Operation(
        "/api/health/billing-daemon",
        "getBillingDaemon",
        "Who bills, and how it went",
        "`timestamp` is when the figures were read. Administrators also get money, host and the latest runs.",
        DaemonStatusDocument,
    ),
    Operation(
        "/api/health/platform-stats",
        "getPlatformStatistics",
        "The platform in seven figures",
        "Users, organizations, VPS, containers and tickets of all time; plans and regions of now. Taken anew"
        " after `cacheExpiry`. Administrators also get what is there now.",
        PlatformStatisticsDocument,
    ),
)

_LIMIT_HEADERS: Final = {
    "RateLimit-Policy": "The limit that applies: requests (q) in a window of seconds (w).",
    "RateLimit": "What is left of it: requests (r), and seconds until the window starts anew (t).",
}
_SECURITY_SCHEMES: Final = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the original application.",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": "containerstacks_session"},
}


async def openapi_document(request: web.Request) -> web.Response:
    return web.Response(text=_serialized(request.app[SETTINGS].company_name), content_type="application/json")


@cache
def _serialized(company_name: str) -> str:
    return json.dumps(describe_api(company_name), ensure_ascii=False)


def describe_api(company_name: str) -> dict[str, Any]:
    models: list[type[BaseModel]] = [StatusMessage, Problem]
    models += [operation.document for operation in OPERATIONS]
    _, definitions = models_json_schema(
        [(model, "serialization") for model in models],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{company_name} platform status",
            "version": application_version(),
            "description": "Everybody gets the public part of each answer, administrators get details. The WebSocket"
            " at /ws/status sends a `StatusMessage` on connect and after each change.",
        },
        "paths": {operation.path: {"get": _describe(operation)} for operation in OPERATIONS},
        "components": {"schemas": definitions["$defs"], "securitySchemes": _SECURITY_SCHEMES},
        "security": [{}, *({name: []} for name in _SECURITY_SCHEMES)],
    }


def _describe(operation: Operation) -> dict[str, Any]:
    return {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "description": operation.description,
        "responses": _responses(operation),
        **({"parameters": [_IF_NONE_MATCH]} if operation.cached else {}),
    }


_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag of an earlier answer.",
}


def _responses(operation: Operation) -> dict[str, Any]:
    headers = dict(_LIMIT_HEADERS)
    if operation.cached:
        headers["ETag"] = "Names this state of the figures; absent from administrators' answers."
    responses = {
        "200": {
            "description": "The figures." if operation.cached else "It is up.",
            "headers": _headers(headers),
            "content": {"application/json": {"schema": _reference(operation.document)}},
        },
        "401": _problem("A header holds a wrong credential."),
        "429": _problem("Too many requests.", **_LIMIT_HEADERS, **{"Retry-After": "Seconds to wait."}),
    }
    if operation.cached:
        responses["304"] = {"description": "Nothing is newer than the ETag that was sent."}
    if operation.may_be_unavailable:
        responses["503"] = _problem("The database is away, and nothing is known yet.")
    return responses


def _problem(description: str, **headers: str) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": _reference(Problem)}}
    return {"description": description, "headers": _headers(headers), "content": content}


def _headers(descriptions: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"description": description, "schema": {"type": "string"}}
        for name, description in descriptions.items()
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
