"""Exports spans to a collector by OTLP over HTTP, in batches and from a thread of its own.

OpenTelemetry's packages read the rest of its variables: sampling, headers, resource attributes. While the collector is
down, spans are dropped once the queue is full, and nothing else is lost.
"""

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from aiohttp import web
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from . import Fact, Span, queries, requests
from .entering import entered

if TYPE_CHECKING:
    import asyncpg

# A collector that does not answer must not keep a process from ending.
_LAST_SECONDS: Final = 3.0

_NAMESPACE: Final = "containerstacks"


@contextmanager
def exporting(service: str) -> Iterator["OpenTelemetryTracer"]:
    provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield OpenTelemetryTracer(provider.get_tracer(_NAMESPACE, _version()))
    finally:
        # Send the rest, within a limit.
        last = threading.Thread(target=provider.shutdown, name="last traces", daemon=True)
        last.start()
        last.join(_LAST_SECONDS)


class OpenTelemetryTracer:
    """Starts spans that are sent when they have ended."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, facts: Mapping[str, Fact]) -> Iterator["_Span"]:
        begun = self._tracer.start_span(name, attributes=_attributes(facts))
        with entered(begun):
            span = _Span(begun)
            try:
                yield span
            except BaseException as error:
                span.fail(type(error).__name__)
                raise

    def follow(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        queries.follow(connection, self._tracer)

    def follow_requests(self, app: web.Application) -> None:
        app.middlewares.insert(0, requests.middleware(self._tracer))


class _Span(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, **facts: Fact) -> None:
        self._span.set_attributes(_attributes(facts))

    def fail(self, kind: str) -> None:
        self._span.set_status(trace.StatusCode.ERROR)
        self._span.set_attribute("error.type", kind)


def _attributes(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {f"{_NAMESPACE}.{name}": value for name, value in facts.items()}


def _resource(service: str) -> Resource:
    ours = {
        SERVICE_NAME: f"{_NAMESPACE}-{service}",
        SERVICE_VERSION: _version(),
        SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}",
    }
    # Attributes from the environment take precedence.
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _version() -> str:
    return version("containerstacks-shared")
