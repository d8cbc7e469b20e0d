"""A span for each request, with attributes of OpenTelemetry's semantic conventions.

The query string and headers are left out. A visitor's own trace is not continued, because any visitor could then have
every request recorded. Each request begins a trace of its own, which links to the visitor's.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from opentelemetry import propagate, trace
from opentelemetry.context import Context

from .entering import entered

_METHODS: Final = frozenset(hdrs.METH_ALL)
# Supervisors and monitoring ask for these every few seconds.
_PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_PATH_CHARACTERS_MAX: Final = 200


def middleware(tracer: trace.Tracer) -> Middleware:
    @web.middleware
    async def trace_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        # A WebSocket stays open for hours; its messages are not responses.
        if request.path in _PROBES or hdrs.UPGRADE in request.headers:
            return await handler(request)
        span = tracer.start_span(
            _name(request),
            context=Context(),
            kind=trace.SpanKind.SERVER,
            attributes=_facts(request),
            links=_links(request),
        )
        with entered(span):
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                _note_status(span, answer.status)
                raise
            except BaseException as error:
                _note_error(span, type(error).__name__)
                raise
            _note_status(span, response.status)
            if "X-Request-ID" in response.headers:
                span.set_attribute("containerstacks.request_id", response.headers["X-Request-ID"])
        return response

    return trace_request


def _name(request: web.Request) -> str:
    route = _route(request)
    return f"{_method(request)} {route}" if route else _method(request)


def _facts(request: web.Request) -> dict[str, str]:
    facts = {
        "http.request.method": _method(request),
        "url.scheme": request.scheme,
        "url.path": request.path[:_PATH_CHARACTERS_MAX],
    }
    route = _route(request)
    return facts | ({"http.route": route} if route else {})


def _method(request: web.Request) -> str:
    return request.method if request.method in _METHODS else "_OTHER"


def _route(request: web.Request) -> str | None:
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


def _links(request: web.Request) -> Sequence[trace.Link]:
    said = trace.get_current_span(propagate.extract(request.headers, Context())).get_span_context()
    return [trace.Link(said)] if said.is_valid else []


def _note_status(span: trace.Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _note_error(span, str(status))


def _note_error(span: trace.Span, kind: str) -> None:
    span.set_status(trace.StatusCode.ERROR)
    span.set_attribute("error.type", kind)
