"""Logs are events with fields, one line each, on standard error.

`structlog.get_logger(__name__)` everywhere; lines of libraries that use `logging` come out in the same form.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# A connection error may quote its DSN, password included.
_PASSWORD_IN_URL: Final = re.compile(r"(?<=://)([^\s:/@]*):[^\s@]+@")
# Characters that would start a new line, or control the reader's terminal.
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Tracebacks have more than one line.
_TRACEBACKS: Final = frozenset({"exception", "stack"})


def configure_logging(level: str, format: str, *, service: str) -> None:  # noqa: A002 - the setting's own word
    """Send everything of this process to standard error. Call it once, before anything is logged."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_service(service),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _hide_passwords,
                _keep_to_one_line,
                _renderer(format),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # These two log every step at info, the level that we use for events.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _renderer(format: str) -> Processor:  # noqa: A002
    if format == "json":
        return structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _name_service(service: str) -> Processor:
    def processor(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return processor


def _hide_passwords(_logger: WrappedLogger, _method: str, event: EventDict) -> Mapping[str, Any]:
    fields: MutableMapping[str, Any] = event
    for key, value in fields.items():
        if isinstance(value, str) and "://" in value:
            fields[key] = _PASSWORD_IN_URL.sub(r"\1:***@", value)
    return fields


def _keep_to_one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> Mapping[str, Any]:
    """Spell control characters out: a value may come from an address that a visitor typed."""
    for key, value in event.items():
        if isinstance(value, str) and key not in _TRACEBACKS:
            event[key] = _CONTROL_CHARACTERS.sub(lambda found: repr(found[0])[1:-1], value)
    return event
