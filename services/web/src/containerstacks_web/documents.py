"""The documents that only web sends: the API's answers and the WebSocket's messages."""

from typing import Literal

from containerstacks_shared.billing.documents import DaemonDetails, DaemonStatus
from containerstacks_shared.core.documents import Document, Timestamp
from containerstacks_shared.fleet.platform import PlatformDetails, PlatformStatistics
from containerstacks_shared.fleet.vps import VpsDetails, VpsStatistics
from containerstacks_shared.status.documents import ComponentNow, ComponentReport, ComponentState, Incident


class HealthDocument(Document):
    success: Literal[True] = True
    message: str
    timestamp: Timestamp
    version: str


class VpsStatisticsDocument(Document):
    success: Literal[True] = True
    timestamp: Timestamp
    last_updated: Timestamp
    vps: VpsDetails | VpsStatistics


class DaemonStatusDocument(Document):
    success: Literal[True] = True
    timestamp: Timestamp
    daemon: DaemonDetails | DaemonStatus


class PlatformStatisticsDocument(Document):
    success: Literal[True] = True
    timestamp: Timestamp
    stats: PlatformDetails | PlatformStatistics


class StatusMessage(Document):
    """What the WebSocket sends. Of two messages the one with the greater version was read later."""

    type: Literal["status"] = "status"
    version: int
    timestamp: Timestamp
    vps: VpsStatistics
    daemon: DaemonStatus


class ComponentsDocument(Document):
    """`stale` tells that newer states were asked for and could not be had since `last_updated`."""

    success: Literal[True] = True
    timestamp: Timestamp
    last_updated: Timestamp
    stale: bool
    overall: ComponentState
    components: list[ComponentReport]


class IncidentsDocument(Document):
    """One page, the newest first. The next one is in the Link header, rel="next"."""

    success: Literal[True] = True
    timestamp: Timestamp
    incidents: list[Incident]


class IncidentDocument(Document):
    success: Literal[True] = True
    incident: Incident


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
