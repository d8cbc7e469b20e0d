"""A collector of OpenTelemetry traces by OTLP over HTTP, that keeps what it was sent or keeps the sender waiting."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class ReceivedSpan:
    """One span as it arrived."""

    service: str
    name: str
    kind: str
    facts: dict[str, Any]
    failed: bool
    trace_id: str
    span_id: str
    parent_id: str
    linked: list[str]


@dataclass
class TraceCollector:
    """`spans` is what arrived while `open` was set; `sent` all of it, byte by byte."""

    url: str = ""
    calls: int = 0
    sent: bytes = b""
    spans: list[ReceivedSpan] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def inside(self, parent: ReceivedSpan) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.parent_id == parent.span_id]

    async def take(self, request: web.Request) -> web.Response:
        self.calls += 1
        body = await request.read()
        await self.open.wait()
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        self.sent += body
        export = ExportTraceServiceRequest.FromString(body)
        for resource in export.resource_spans:
            service = _facts(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_received(service, span) for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _received(service: str, span: Span) -> ReceivedSpan:
    assert not span.events, "an event may hold an error's message"
    assert not span.status.message
    return ReceivedSpan(
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        facts=_facts(span.attributes),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        linked=[link.trace_id.hex() for link in span.links],
    )


def _facts(attributes: Any) -> dict[str, Any]:
    def value(of: KeyValue) -> Any:
        return getattr(of.value, of.value.WhichOneof("value") or "string_value")

    return {attribute.key: value(attribute) for attribute in attributes}


@contextlib.asynccontextmanager
async def trace_collector() -> AsyncIterator[TraceCollector]:
    collector = TraceCollector()
    collector.open.set()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/traces", collector.take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(access_log=None)
    try:
        collector.url = f"http://127.0.0.1:{server.port}"
        yield collector
    finally:
        collector.open.set()
        await server.close()
