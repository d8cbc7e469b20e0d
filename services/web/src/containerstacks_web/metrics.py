"""What the web service measures."""

from functools import lru_cache
from typing import Final

from prometheus_client import Counter, Gauge

CLIENTS: Final = Gauge("containerstacks_web_socket_clients", "Browsers connected by WebSocket.")
CLIENTS_CUT_OFF: Final = Counter(
    "containerstacks_web_socket_clients_cut_off",
    "Browsers whose connection was ended because they stopped reading.",
)
STATUS_READINGS: Final = Counter(
    "containerstacks_web_status_readings", "Readings of the status, by outcome.", ["outcome"]
)
STATUS_READ_AT: Final = Gauge(
    "containerstacks_web_status_read_timestamp_seconds", "When the status was last read from the database."
)
BUILTIN_BILLING_ACTIVE: Final = Gauge(
    "containerstacks_web_builtin_billing_active", "1 while this process bills."
)
REQUESTS: Final = Counter("containerstacks_web_requests", "Requests answered, by status code.", ["status"])
RATE_LIMITED: Final = Counter(
    "containerstacks_web_rate_limited", "Requests refused as too many, by class.", ["name"]
)


# Each request needs one of a few, and looking it up costs more than counting.
@lru_cache(maxsize=128)
def requests_with(status: str) -> Counter:
    """Return the counter of requests that were answered by this status."""
    return REQUESTS.labels(status)
