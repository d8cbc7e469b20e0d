"""A span begins, holds what its block begins, and ends with it."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry import trace


@contextmanager
def entered(span: trace.Span) -> Iterator[None]:
    """Log lines of the block name the trace, if it is one that is sent."""
    context = span.get_span_context()
    named = {"trace_id": trace.format_trace_id(context.trace_id)} if context.trace_flags.sampled else {}
    with (
        # Its own way to record an exception would tell the message, which may hold what somebody typed.
        trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False),
        structlog.contextvars.bound_contextvars(**named),
    ):
        yield
