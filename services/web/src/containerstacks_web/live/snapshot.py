"""The latest reading of the platform in this process; pages, API and sockets all serve it."""

from dataclasses import dataclass
from datetime import datetime

from containerstacks_shared.billing.documents import DaemonStatus
from containerstacks_shared.billing.status import DaemonReading
from containerstacks_shared.fleet.vps import VpsStatistics


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
    billing: DaemonReading
    taken: float
    message: bytes

    @property
    def daemon(self) -> DaemonStatus:
        """As it was read; `billing` is what still holds of it later."""
        return self.billing.status
