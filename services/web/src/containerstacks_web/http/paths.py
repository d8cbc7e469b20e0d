"""Kinds of address, by prefix: the HTTP rules for a request depend on them before a handler is found."""

from typing import Final

API_PREFIX: Final = "/api/"
METRICS_PATH: Final = "/metrics"
PROBES: Final = frozenset({"/healthz", "/readyz", METRICS_PATH})
SOCKET_PATH: Final = "/ws/status"
# Documents in the shapes of Statuspage's public API.
STATUSPAGE_PREFIX: Final = "/api/v2/"
STATIC_PREFIX: Final = "/static/"
# Pages, not documents.
PAGES_OF_API: Final = frozenset({"/api/docs"})
# Requests below these come from programs, whatever their header Accept says.
_PROGRAM_PREFIXES: Final = (API_PREFIX, "/ws/", *PROBES)

EMBED_PATH: Final = "/embed"
# A whole office may ask for these in an outage, from one address; they are answered from memory.
_PUBLIC: Final = frozenset({"/status", "/about", "/status/feed.atom", "/status/maintenance.ics", EMBED_PATH})
_PUBLIC_PREFIXES: Final = ("/badge/", STATUSPAGE_PREFIX)


def is_public_status(path: str) -> bool:
    return path in _PUBLIC or path.startswith(_PUBLIC_PREFIXES)


def is_for_programs(path: str) -> bool:
    return path.startswith(_PROGRAM_PREFIXES) and path not in PAGES_OF_API
