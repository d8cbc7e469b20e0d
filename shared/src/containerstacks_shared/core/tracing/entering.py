"""Starts a span for a block, as the parent of every span that the block starts."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry import trace


@contextmanager
def entered(span: trace.Span) -> Iterator[None]:
    """Add the trace id to log lines of the block, if the trace is sampled."""
    context = span.get_span_context()
    named = {"trace_id": trace.format_trace_id(context.trace_id)} if context.trace_flags.sampled else {}
    with (
        # OpenTelemetry's own record of an exception has the message, which may hold user input.
        trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False),
        structlog.contextvars.bound_contextvars(**named),
    ):
        yield
