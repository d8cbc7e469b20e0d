"""Traces by OpenTelemetry, switched on by OpenTelemetry's own variables; see docs/monitoring.md.

When they are off, OpenTelemetry is not imported, and a span does nothing. Spans hold names and counts only: no SQL, no
parameters, no error messages, no addresses and no amounts of money, because a collector must not get them.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from containerstacks_shared.core.errors import ConfigurationError

if TYPE_CHECKING:
    import asyncpg

    from .exporting import OpenTelemetryTracer

Fact = str | int

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_DISABLED: Final = "OTEL_SDK_DISABLED"
_PROTOCOL: Final = "http/protobuf"

# Those of OpenTelemetry's variables that decide whether there are traces; its own packages read the others.
VARIABLES: Final = frozenset({*_ENDPOINTS, *_PROTOCOLS, _EXPORTER, _DISABLED})


class Span:
    """A stretch of work that has begun and not ended. This one records nothing: traces are off."""

    def note(self, **facts: Fact) -> None:
        """Add what became known since it began."""

    def fail(self, kind: str) -> None:
        """Mark the work as failed. `kind` is one word, never an error message."""


_NOTHING: Final = Span()


@dataclass
class _Current:
    tracer: "OpenTelemetryTracer | None" = None


_current: Final = _Current()


@contextmanager
def span(name: str, **facts: Fact) -> Iterator[Span]:
    """Record how long the block takes; an exception that leaves it is recorded by its class name."""
    if _current.tracer is None:
        yield _NOTHING
        return
    with _current.tracer.span(name, facts) as begun:
        yield begun


def follow(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Trace every query on the connection that runs inside a span."""
    if _current.tracer is not None:
        _current.tracer.follow(connection)


def follow_requests(app: web.Application) -> None:
    """Trace every request, outside of all other middlewares."""
    if _current.tracer is not None:
        _current.tracer.follow_requests(app)


@contextmanager
def traced(service: str) -> Iterator[None]:
    """Send traces of this process until the block ends, if they are asked for. Raises `ConfigurationError`."""
    if not is_enabled(os.environ):
        yield
        return
    try:
        from . import exporting  # noqa: PLC0415 - slow to import
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{_given(os.environ, _ENDPOINTS)}: traces need packages that are not installed"
            f" (expected `pip install --require-hashes -r requirements/traces.txt`, or unset): {error.name}"
        ) from error
    with exporting.exporting(service) as tracer:
        _current.tracer = tracer
        try:
            yield
        finally:
            _current.tracer = None


def is_enabled(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces. Raises `ConfigurationError` for a value that cannot work."""
    variable = _given(environment, _ENDPOINTS)
    if variable is None or environment.get(_DISABLED, "").strip().lower() == "true":
        return False
    exporter = environment.get(_EXPORTER, "").strip() or "otlp"
    if exporter == "none":
        return False
    if exporter != "otlp":
        raise ConfigurationError(
            f"{_EXPORTER}: {exporter!r} is not one of the choices (expected otlp or none)"
        )
    spoken = _given(environment, _PROTOCOLS)
    if spoken is not None and environment[spoken].strip() != _PROTOCOL:
        raise ConfigurationError(f"{spoken}: {environment[spoken]!r} is not supported (expected {_PROTOCOL})")
    if not _is_url(environment[variable]):
        # The URL may hold a password.
        raise ConfigurationError(f"{variable}: is not a URL (expected one like http://127.0.0.1:4318)")
    return True


def _given(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if environment.get(name, "").strip()), None)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text.strip())
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
