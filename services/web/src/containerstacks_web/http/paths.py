"""Kinds of address, by how they begin: what HTTP asks of a request depends on them before any handler is known."""

from typing import Final

API_PREFIX: Final = "/api/"
METRICS_PATH: Final = "/metrics"
PROBES: Final = frozenset({"/healthz", "/readyz", METRICS_PATH})
SOCKET_PATH: Final = "/ws/status"
STATIC_PREFIX: Final = "/static/"
# Pages, not documents.
PAGES_OF_API: Final = frozenset({"/api/docs"})
# Below these, programs ask, whatever they say that they accept.
_PROGRAM_PREFIXES: Final = (API_PREFIX, "/ws/", *PROBES)


EMBED_PATH: Final = "/embed"
# What a whole office looks at in an outage, from one address: answered from memory.
_PUBLIC: Final = frozenset({"/status", "/about", "/status/feed.atom", "/status/maintenance.ics", EMBED_PATH})
_PUBLIC_PREFIXES: Final = ("/badge/", "/api/v2/")


def is_public_status(path: str) -> bool:
    return path in _PUBLIC or path.startswith(_PUBLIC_PREFIXES)


def is_for_programs(path: str) -> bool:
    return path.startswith(_PROGRAM_PREFIXES) and path not in PAGES_OF_API
