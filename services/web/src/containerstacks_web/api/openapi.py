"""The API's description in OpenAPI 3.1, made from the same models that read requests and make the answers."""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from aiohttp import hdrs, web
from pydantic import TypeAdapter

from containerstacks_shared.core.version import application_version
from containerstacks_web.http.conditional import answer_with_etag
from containerstacks_web.http.exchange import JSON
from containerstacks_web.http.problems import CONTENT_TYPE, Problem
from containerstacks_web.live.messages import DetailsMessage, IncidentsMessage, StatusMessage

from .examples import example_answers
from .incident_operations import INCIDENT_OPERATIONS
from .operation import Operation, Tag
from .operations import OPERATIONS

ALL_OPERATIONS: Final[Mapping[Any, Operation]] = {**OPERATIONS, **INCIDENT_OPERATIONS}
_SCHEMAS: Final = "#/components/schemas/{model}"
# What the socket sends is described beside what the endpoints answer.
_MESSAGES: Final = (StatusMessage, IncidentsMessage, DetailsMessage)

_ABOUT: Final = (
    "Everybody gets the public part of each answer, administrators and staff get details. A request with a wrong"
    " credential in a header is refused, also at a public address. Every answer carries `X-Request-ID`, every"
    " refusal is an RFC 9457 problem that repeats it. The WebSocket at /ws/status sends a `StatusMessage` on connect"
    " and after each change; `?topics=` chooses what it sends. Its close codes are 1008 (too many messages), 1009 (too"
    " long a message), 1012 (this server restarts: come back) and 4401 (the administrator's credential ended)."
)

_LIMIT_HEADERS: Final = {
    "RateLimit-Policy": "The limit that applies: requests (q) in a window of seconds (w).",
    "RateLimit": "What is left of it: requests (r), and seconds until the window ends (t).",
}
_REQUEST_ID: Final = {"X-Request-ID": "Names this request in the log."}
_ETAG: Final = {"ETag": "The version of the figures; absent from answers to administrators and staff."}
_RETRY_AFTER: Final = {"Retry-After": "Seconds to wait."}
_SECURITY_SCHEMES: Final = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the original application.",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": "containerstacks_session"},
}
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag of an earlier answer.",
}


async def openapi_document(request: web.Request) -> web.Response:
    return answer_with_etag(request, request.app[API_DESCRIPTION].serialized, content_type=JSON)


class ApiDescription:
    """Built at first use, when all addresses are known."""

    def __init__(self, company_name: str, router: web.UrlDispatcher) -> None:
        self._company_name = company_name
        self.router = router

    @cached_property
    def document(self) -> Mapping[str, Any]:
        return describe_api(self._company_name, self.router)

    @cached_property
    def serialized(self) -> bytes:
        return json.dumps(self.document, ensure_ascii=False).encode()


API_DESCRIPTION: Final = web.AppKey("api_description", ApiDescription)


def describe_api(company_name: str, router: web.UrlDispatcher) -> dict[str, Any]:
    """Describe what is served and has a description."""
    found = list(routed(router))
    operations = [operation for _, _, operation in found]
    answered: list[Any] = [
        *_MESSAGES,
        Problem,
        *(operation.document for operation in operations if operation.document),
    ]
    read: list[Any] = [
        operation.request_document for operation in operations if operation.request_document is not None
    ]
    schemas, definitions = TypeAdapter.json_schemas(
        [(model, "serialization", TypeAdapter(model)) for model in answered]
        + [(model, "validation", TypeAdapter(model)) for model in read],
        ref_template=_SCHEMAS,
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, method, operation in found:
        sent = schemas.get((operation.request_document, "validation"))
        received = schemas.get((operation.document, "serialization"))
        methods = paths.setdefault(path, {"options": _describe_options(path, operation)})
        methods[method] = _describe(operation, received, sent)
        if method == "get":
            methods["head"] = _without_content(methods["get"])
    paths["/api/openapi.json"] = {"get": _describe_itself(), "head": _without_content(_describe_itself())}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{company_name} platform status",
            "version": application_version(),
            "description": _ABOUT,
        },
        "tags": [{"name": tag.value, "description": tag.explanation} for tag in Tag],
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {}), "securitySchemes": _SECURITY_SCHEMES},
        "security": [{}, *({name: []} for name in _SECURITY_SCHEMES)],
    }


def routed(router: web.UrlDispatcher) -> Iterator[tuple[str, str, Operation]]:
    for route in router.routes():
        operation = ALL_OPERATIONS.get(route.handler)
        # HEAD is routed with GET, and described by it.
        if operation is not None and route.resource is not None and route.method != hdrs.METH_HEAD:
            yield route.resource.canonical, route.method.lower(), operation


def _describe(operation: Operation, received: Any, sent: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.operation_id,
        "tags": [operation.tag.value],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": _parameters(operation),
        "responses": _responses(operation, received),
    }
    if sent is not None:
        content = {"schema": sent} if operation.sent is None else {"schema": sent, "example": operation.sent}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    if not operation.is_for_all:
        described["security"] = [{name: []} for name in _SECURITY_SCHEMES]
    return described


def _without_content(described: dict[str, Any]) -> dict[str, Any]:
    """HEAD is GET without the body, refusals included."""
    head = dict(described)
    head["operationId"] = f"{described['operationId']}Head"
    head["summary"] = f"The headers of: {described['summary']}"
    head["responses"] = {
        status: {name: value for name, value in response.items() if name != "content"}
        for status, response in described["responses"].items()
    }
    return head


def _describe_options(path: str, operation: Operation) -> dict[str, Any]:
    name = path.strip("/").replace("/", "-").translate(str.maketrans("", "", "{}"))
    return {
        "operationId": f"options-{name}",
        "tags": [operation.tag.value],
        "summary": "The methods of this address",
        # Any value is answered.
        "parameters": [
            parameter | {"schema": {"type": "string"}}
            for parameter in _parameters(operation)
            if parameter["in"] == "path"
        ],
        "responses": {
            "204": {
                "description": "The methods, and whether another site's page may use them.",
                "headers": _headers({"Allow": "The methods of this address."} | _REQUEST_ID),
            },
            **_common_problems(),
        },
    }


def _describe_itself() -> dict[str, Any]:
    return {
        "operationId": "getDescription",
        "tags": [Tag.STATUS.value],
        "summary": "This description",
        "description": "Made from the models that read requests and make the answers.",
        "parameters": [_IF_NONE_MATCH],
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "headers": _headers(_LIMIT_HEADERS | _REQUEST_ID | _ETAG),
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "304": {
                "description": "Not modified.",
                "headers": _headers(_LIMIT_HEADERS | _REQUEST_ID | _ETAG),
            },
            "406": _problem("The header Accept excludes JSON."),
            **_common_problems(),
        },
    }


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    described: list[dict[str, Any]] = [
        {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required or parameter.place == "path",
            "schema": parameter.schema,
            "description": parameter.description,
            **({} if parameter.example is None else {"example": parameter.example}),
        }
        for parameter in operation.parameters
    ]
    return [*described, _IF_NONE_MATCH] if operation.cached else described


def _responses(operation: Operation, received: Any) -> dict[str, Any]:
    headers = _LIMIT_HEADERS | _REQUEST_ID | dict(operation.headers)
    if operation.cached:
        headers |= _ETAG
    success: dict[str, Any] = {"description": "As asked.", "headers": _headers(headers)}
    if received is not None:
        example = example_answers()[operation.operation_id]
        success["content"] = {operation.content_type: {"schema": received, "example": example}}
    responses = {str(operation.status): success, "406": _problem("The header Accept excludes JSON.")}
    if operation.cached:
        responses["304"] = {
            "description": "The ETag that was sent is current.",
            "headers": _headers(headers),
        }
    if operation.needs is not None:
        responses["403"] = _problem(
            f"Only {operation.callers} may; or a session's request comes from another site."
        )
    if operation.request_document is not None:
        responses["408"] = _problem("The rest of the request did not arrive.")
        responses["413"] = _problem("The request is larger than this service accepts.")
        responses["415"] = _problem("The request is not JSON.")
        responses["422"] = _problem("The document is not as described.")
    if operation.may_be_unavailable:
        responses["503"] = _problem(
            "The database cannot be reached, and the answer is not in memory.", _RETRY_AFTER
        )
    responses |= {str(status): _problem(description) for status, description in operation.problems}
    return _common_problems() | responses


def _common_problems() -> dict[str, Any]:
    return {
        "400": _problem("The request is malformed, or names no host."),
        "401": _problem("There is no credential where one is needed, or a wrong one in a header."),
        "421": _problem("This site does not go by the name that it was asked by."),
        "429": _problem("Too many requests.", _LIMIT_HEADERS | _RETRY_AFTER),
        "500": _problem("Something went wrong on our side; the log has it under the request's id."),
    }


def _problem(description: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _headers(_REQUEST_ID | (headers or {})),
        "content": {CONTENT_TYPE: {"schema": {"$ref": _SCHEMAS.format(model=Problem.__name__)}}},
    }


def _headers(descriptions: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"description": description, "schema": {"type": "string"}}
        for name, description in descriptions.items()
    }
