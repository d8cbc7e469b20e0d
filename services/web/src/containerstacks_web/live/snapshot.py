"""What this process last knew to be true of the platform; pages, API and sockets all serve it."""

from dataclasses import dataclass
from datetime import datetime

from containerstacks_shared.models import DaemonStatus, VpsStatistics


@dataclass(frozen=True)
class StatusSnapshot:
    """One versioned reading of the database.

    `timestamp` is this process's wall clock just before the reading: the figures were true then or later.
    `taken` is the event loop's clock at that moment, for telling an age without trusting wall clocks.
    `message` is the WebSocket message, serialised once.
    """

    version: int
    timestamp: datetime
    vps: VpsStatistics
    daemon: DaemonStatus
    taken: float
    message: bytes
