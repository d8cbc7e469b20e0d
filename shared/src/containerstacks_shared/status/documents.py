"""Components, incidents and planned maintenance, as the page and the API show them."""

from datetime import date, datetime
from enum import StrEnum
from typing import NewType

from containerstacks_shared.core.documents import Count, Document, Figure, Timestamp

IncidentId = NewType("IncidentId", int)


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
    """The first four are of incidents, the next four of maintenance."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    # Of an update alone: the incident stays resolved.
    POSTMORTEM = "postmortem"

    @property
    def is_over(self) -> bool:
        return self in {self.RESOLVED, self.COMPLETED, self.CANCELLED}


class IncidentUpdate(Document):
    status: IncidentStatus
    body: str
    created_at: Timestamp


class Incident(Document):
    """One incident or planned maintenance with everything that was said about it, the newest first.

    `started_at` is when an incident began, which may be before it was published (`created_at`). `starts_at` and
    `ends_at` are the window of a maintenance, whose status follows from the time alone.
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
    started_at: Timestamp | None = None
    starts_at: Timestamp | None = None
    ends_at: Timestamp | None = None
    closed_at: Timestamp | None = None
    updates: list[IncidentUpdate]

    @property
    def began_at(self) -> datetime:
        """When it began; of a maintenance that was cancelled before, when that was."""
        began: datetime = self.started_at or self.starts_at or self.created_at
        return began if self.closed_at is None else min(began, self.closed_at)
