"""Messages of the WebSocket, and the topics that a client may ask for."""

from enum import StrEnum
from typing import Literal

from containerstacks_shared.billing.documents import DaemonDetails, DaemonStatus
from containerstacks_shared.core.documents import Document, Timestamp
from containerstacks_shared.fleet.vps import VpsDetails, VpsStatistics
from containerstacks_shared.status.documents import ComponentNow, ComponentState, Incident


class Topic(StrEnum):
    """A kind of message: `?topics=status,incidents` asks for both. Details are for administrators."""

    STATUS = "status"
    INCIDENTS = "incidents"
    DETAILS = "details"


class StatusMessage(Document):
    """What the WebSocket sends. Of two messages the one with the greater version was read later."""

    type: Literal["status"] = "status"
    version: int
    timestamp: Timestamp
    vps: VpsStatistics
    daemon: DaemonStatus


class IncidentsMessage(Document):
    """What the WebSocket sends for the topic `incidents`: on connect, and whenever something in it changed.

    `incidents` are those not over yet, and maintenance that is planned or going on.
    """

    type: Literal["incidents"] = "incidents"
    version: int
    timestamp: Timestamp
    overall: ComponentState
    components: list[ComponentNow]
    incidents: list[Incident]
    billing_paused: bool


class DetailsMessage(Document):
    """More for administrators, every two seconds while they listen."""

    type: Literal["details"] = "details"
    version: int
    timestamp: Timestamp
    vps: VpsDetails
    daemon: DaemonDetails


def parse_topics(text: str | None) -> frozenset[Topic]:
    """Read `?topics=`, by default the status. Raises ValueError."""
    if text is None:
        return frozenset({Topic.STATUS})
    return frozenset(Topic(word.strip()) for word in text.split(","))
