"""The documents of the status page beside the figures: components, incidents and planned maintenance."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal, NewType

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
)

from containerstacks_shared.models import Count, Document, Figure, Timestamp

IncidentId = NewType("IncidentId", int)

# Components -------------------------------------------------------------------------------------


class Component(StrEnum):
    """The parts that the page answers for, in the order in which it shows them."""

    VPS = "vps"
    BILLING = "billing"
    LIVE_DATA = "live-data"
    DATABASE = "database"
    WEB = "web"

    @property
    def title(self) -> str:  # type: ignore[override] # str's own would only capitalise
        return _TITLES[self]


_TITLES = {
    Component.VPS: "VPS infrastructure",
    Component.BILLING: "Billing",
    Component.LIVE_DATA: "Live data",
    Component.DATABASE: "Database",
    Component.WEB: "Web",
}


class ComponentState(StrEnum):
    """`no_data` is never recorded: it is what the absence of a record means."""

    OPERATIONAL = "operational"
    DEGRADED = "degraded"
    DOWN = "down"
    MAINTENANCE = "maintenance"
    NO_DATA = "no_data"


class UptimeWindow(StrEnum):
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"


class StateMinutes(Document):
    """How many recorded minutes were spent in each state."""

    operational: Count = 0
    degraded: Count = 0
    down: Count = 0
    maintenance: Count = 0

    @property
    def recorded(self) -> int:
        return self.operational + self.degraded + self.down + self.maintenance


class ComponentDay(StateMinutes):
    """One daily bar, a day of UTC. `state` is the worst that was recorded, `no_data` when nothing was."""

    date: date
    state: ComponentState


class ComponentUptime(Document):
    """`percent` is None when there is nothing to divide; the two counts say how much of the window is known."""

    window: UptimeWindow
    percent: Figure | None
    recorded_minutes: Count
    total_minutes: Count


class ComponentNow(Document):
    """`because` says in a sentence what decided; `checked_at` is None when nothing was ever recorded."""

    component: Component
    name: str
    state: ComponentState
    because: str
    checked_at: Timestamp | None = None


class ComponentReport(ComponentNow):
    """The state now, the uptime per window, and 90 daily bars, the oldest first."""

    uptime: list[ComponentUptime]
    days: list[ComponentDay]


# Incidents and maintenance ----------------------------------------------------------------------


class IncidentKind(StrEnum):
    INCIDENT = "incident"
    MAINTENANCE = "maintenance"


class Impact(StrEnum):
    """How bad an incident is; what each impact makes of its components is a rule of `component_rules`."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class IncidentStatus(StrEnum):
    """The first four are of incidents, the others of maintenance."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in {self.RESOLVED, self.COMPLETED, self.CANCELLED}


class IncidentUpdate(Document):
    status: IncidentStatus
    body: str
    created_at: Timestamp


class Incident(Document):
    """One incident or planned maintenance with everything that was said about it, the newest first.

    `starts_at` and `ends_at` are the window of a maintenance, whose status follows from the time alone.
    `closed_at` is when an incident was resolved, a maintenance completed or cancelled.
    """

    id: int
    kind: IncidentKind
    title: str
    impact: Impact
    status: IncidentStatus
    components: list[Component]
    created_at: Timestamp
    updated_at: Timestamp
    starts_at: Timestamp | None = None
    ends_at: Timestamp | None = None
    closed_at: Timestamp | None = None
    updates: list[IncidentUpdate]


# What administrators send -----------------------------------------------------------------------


def _in_page_order(components: tuple[Component, ...]) -> tuple[Component, ...]:
    return tuple(component for component in Component if component in components)


def _text_only(value: object) -> object:
    """Take a moment as text: a number would be seconds to one reader and milliseconds to the next."""
    if value is not None and not isinstance(value, str | datetime):
        raise ValueError("is not a date and time")
    return value


# Neither PostgreSQL nor a feed takes every character; a body may have lines and tabs.
Title = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f\ufffe\uffff]*$"
    ),
]
Body = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=5000,
        pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]*$",
    ),
]
Moment = Annotated[AwareDatetime, BeforeValidator(_text_only)]
Components = Annotated[tuple[Component, ...], Field(min_length=1), AfterValidator(_in_page_order)]


class _Sent(Document):
    model_config = ConfigDict(extra="forbid")


class IncidentDraft(_Sent):
    """What opens an incident."""

    kind: Literal[IncidentKind.INCIDENT]
    title: Title
    body: Body
    components: Components
    impact: Impact = Impact.MINOR
    status: Literal[IncidentStatus.INVESTIGATING, IncidentStatus.IDENTIFIED, IncidentStatus.MONITORING] = (
        IncidentStatus.INVESTIGATING
    )


class MaintenanceDraft(_Sent):
    """What plans a maintenance. It begins and ends by itself."""

    kind: Literal[IncidentKind.MAINTENANCE]
    title: Title
    body: Body
    components: Components
    starts_at: Moment
    ends_at: Moment


class IncidentRequest(RootModel[Annotated[IncidentDraft | MaintenanceDraft, Field(discriminator="kind")]]):
    """What is sent to open an incident, or to plan a maintenance."""


class IncidentChange(_Sent):
    """What is to change; a status or a body makes an update that everybody reads.

    Of a maintenance the status may become `cancelled`, or `completed` to end it now.
    """

    title: Title | None = None
    impact: Impact | None = None
    components: Components | None = None
    status: IncidentStatus | None = None
    body: Body | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None


# What goes over the wire ------------------------------------------------------------------------


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
