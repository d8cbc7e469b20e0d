"""What the WebSocket sends beside the status, and what a client may ask for."""

from enum import StrEnum
from typing import Literal

from containerstacks_shared.billing.documents import DaemonDetails
from containerstacks_shared.core.documents import Document, Timestamp
from containerstacks_shared.fleet.vps import VpsDetails


class Topic(StrEnum):
    """A kind of message: `?topics=status,incidents` asks for both. Details are for administrators."""

    STATUS = "status"
    INCIDENTS = "incidents"
    DETAILS = "details"


class DetailsMessage(Document):
    """What administrators get besides: every two seconds while they listen."""

    type: Literal["details"] = "details"
    version: int
    timestamp: Timestamp
    vps: VpsDetails
    daemon: DaemonDetails


def parse_topics(text: str | None) -> frozenset[Topic]:
    """Read `?topics=`; raises ValueError. Who says nothing gets the status."""
    if text is None:
        return frozenset({Topic.STATUS})
    return frozenset(Topic(word.strip()) for word in text.split(","))
