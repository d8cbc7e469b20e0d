"""A span for each query that is part of a trace, by the driver's own hook.

A span is named after the query's name in its `.sql` file. It holds neither the text nor the parameters. Queries outside
any span (heartbeats, polling) are not traced.
"""

import time
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import asyncpg
from opentelemetry import trace

from containerstacks_shared.core.queries import load, modules

if TYPE_CHECKING:
    from asyncpg.connection import LoggedQuery

_NANOSECONDS: Final = 1_000_000_000


def follow(connection: "asyncpg.Connection[asyncpg.Record]", tracer: trace.Tracer) -> None:
    # The pool's reset would follow every query.
    reset = connection.get_reset_query()

    def record(query: "LoggedQuery") -> None:
        if query.query != reset:
            _record(tracer, query)

    connection.add_query_logger(record)


def _record(tracer: trace.Tracer, query: "LoggedQuery") -> None:
    # A moment after the query, in the context that it was made in, whose span may have ended with it.
    if not trace.get_current_span().get_span_context().trace_flags.sampled:
        return
    ended = time.time_ns()
    name = name_of(query.query)
    span = tracer.start_span(
        name,
        kind=trace.SpanKind.CLIENT,
        start_time=ended - round(query.elapsed * _NANOSECONDS),
        attributes={"db.system.name": "postgresql", "db.query.summary": name, **_where(query)},
    )
    if query.exception is not None:
        span.set_status(trace.StatusCode.ERROR)
        span.set_attribute("error.type", type(query.exception).__name__)
        if isinstance(query.exception, asyncpg.PostgresError) and query.exception.sqlstate:
            span.set_attribute("db.response.status_code", query.exception.sqlstate)
    span.end(ended)


def _where(query: "LoggedQuery") -> dict[str, str | int]:
    if not isinstance(query.conn_addr, tuple):
        return {"server.address": str(query.conn_addr)}
    host, port = query.conn_addr[:2]
    return {"server.address": host, "server.port": port}


@lru_cache(maxsize=512)
def name_of(query: str) -> str:
    """`file.name` of its `.sql` file; else its first word."""
    return _names().get(query) or (query.split(maxsplit=1) or ["?"])[0].strip(";").upper()


@cache
def _names() -> dict[str, str]:
    return {
        query: f"{module.rpartition('.')[2]}.{name}"
        for module in modules()
        for name, query in load(module).items()
    }
