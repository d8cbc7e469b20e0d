"""/api/v2: components, incidents and maintenance in the shapes and words of Statuspage's public API.

What nobody measured is `degraded_performance` there, never `operational`: the format has no word for not knowing.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from containerstacks_shared.core.documents import Timestamp
from containerstacks_shared.status.documents import (
    Component,
    ComponentReport,
    ComponentState,
    Impact,
    Incident,
    IncidentKind,
    IncidentStatus,
)
from containerstacks_shared.status.indicator import indicate
from containerstacks_web.live.board import Board

_IDS: Final = UUID("5f0c7b5e-6d0c-4d55-a62b-9a0c3a3bd1f4")
# Components are as old as the format wants them to be; nothing here knows since when they are watched.
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)

ComponentStatus = Literal[
    "operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"
]

_STATUSES: Final[dict[ComponentState, ComponentStatus]] = {
    ComponentState.OPERATIONAL: "operational",
    ComponentState.DEGRADED: "degraded_performance",
    ComponentState.DOWN: "major_outage",
    ComponentState.MAINTENANCE: "under_maintenance",
    ComponentState.NO_DATA: "degraded_performance",
}
_IMPACT_STATUSES: Final[dict[Impact, ComponentStatus]] = {
    Impact.NONE: "operational",
    Impact.MINOR: "degraded_performance",
    Impact.MAJOR: "partial_outage",
    Impact.CRITICAL: "major_outage",
}


class _Shape(BaseModel):
    """Names are Statuspage's, and so is null for what this service does not have."""

    model_config = ConfigDict(frozen=True)


class PageShape(_Shape):
    id: str
    name: str
    url: str
    time_zone: str = "Etc/UTC"
    updated_at: Timestamp


class StatusShape(_Shape):
    indicator: Literal["none", "minor", "major", "critical"]
    description: str


class ComponentShape(_Shape):
    id: str
    name: str
    status: ComponentStatus
    created_at: Timestamp
    updated_at: Timestamp
    position: int
    description: str | None
    showcase: bool = True
    start_date: str | None = None
    group_id: str | None = None
    page_id: str
    group: bool = False
    only_show_if_degraded: bool = False


class AffectedShape(_Shape):
    code: str
    name: str
    old_status: ComponentStatus
    new_status: ComponentStatus


class UpdateShape(_Shape):
    id: str
    status: str
    body: str
    incident_id: str
    created_at: Timestamp
    updated_at: Timestamp
    display_at: Timestamp
    affected_components: list[AffectedShape] | None
    deliver_notifications: bool = False
    custom_tweet: str | None = None
    tweet_id: str | None = None


class IncidentShape(_Shape):
    id: str
    name: str
    status: str
    created_at: Timestamp
    updated_at: Timestamp
    monitoring_at: Timestamp | None
    resolved_at: Timestamp | None
    impact: str
    shortlink: str
    started_at: Timestamp
    page_id: str
    incident_updates: list[UpdateShape]
    components: list[ComponentShape]
    reminder_intervals: str | None = None


class MaintenanceShape(IncidentShape):
    scheduled_for: Timestamp
    scheduled_until: Timestamp


class StatusAnswer(_Shape):
    page: PageShape
    status: StatusShape


class ComponentsAnswer(_Shape):
    page: PageShape
    components: list[ComponentShape]


class IncidentsAnswer(_Shape):
    page: PageShape
    incidents: list[IncidentShape]


class MaintenancesAnswer(_Shape):
    page: PageShape
    scheduled_maintenances: list[MaintenanceShape]


class SummaryAnswer(_Shape):
    page: PageShape
    components: list[ComponentShape]
    incidents: list[IncidentShape]
    scheduled_maintenances: list[MaintenanceShape]
    status: StatusShape


class Shapes:
    """Puts one reading of the board into the format; `public_url` is what links begin with, '' for relative ones."""

    def __init__(self, board: Board, *, company_name: str, public_url: str) -> None:
        self._board = board
        self._public_url = public_url
        self._page_id = uuid5(_IDS, company_name).hex[:12]
        said = [incident.updated_at for incident in board.latest.incidents]
        self.page = PageShape(
            id=self._page_id,
            name=company_name,
            url=public_url or "/",
            updated_at=max([*_checked(board.components), *said], default=board.read_at),
        )
        self.components = [self._component(report) for report in board.components]
        self._by_code = {component.id: component for component in self.components}

    @property
    def status(self) -> StatusShape:
        status = indicate(report.state for report in self._board.components)
        return StatusShape(indicator=status.indicator, description=status.description)

    def incidents(self, incidents: Iterable[Incident]) -> list[IncidentShape]:
        """Those of them that are incidents; maintenance has a list of its own."""
        return [
            IncidentShape.model_validate(self._said(incident))
            for incident in incidents
            if incident.kind is IncidentKind.INCIDENT
        ]

    def maintenances(
        self, incidents: Iterable[Incident], *statuses: IncidentStatus
    ) -> list[MaintenanceShape]:
        """Those in one of these statuses; cancelled ones are left out, since the format has no status for them."""
        return [
            MaintenanceShape.model_validate(
                self._said(incident)
                | {"scheduled_for": incident.starts_at, "scheduled_until": incident.ends_at}
            )
            for incident in incidents
            if incident.kind is IncidentKind.MAINTENANCE and incident.status in statuses
        ]

    def _component(self, report: ComponentReport) -> ComponentShape:
        return ComponentShape(
            id=report.component.value,
            name=report.name,
            status=_STATUSES[report.state],
            created_at=_BEGINNING,
            updated_at=report.checked_at or _BEGINNING,
            position=1 + list(Component).index(report.component),
            description=report.because,
            page_id=self._page_id,
        )

    def _said(self, incident: Incident) -> dict[str, object]:
        number = str(incident.id)
        is_maintenance = incident.kind is IncidentKind.MAINTENANCE
        has_postmortem = any(update.status is IncidentStatus.POSTMORTEM for update in incident.updates)
        monitoring = [
            update.created_at for update in incident.updates if update.status is IncidentStatus.MONITORING
        ]
        return {
            "id": number,
            "name": incident.title,
            "status": "postmortem" if has_postmortem else incident.status.value,
            "created_at": incident.created_at,
            "updated_at": incident.updated_at,
            "monitoring_at": min(monitoring, default=None),
            "resolved_at": incident.closed_at,
            "impact": "maintenance" if is_maintenance else incident.impact.value,
            "shortlink": f"{self._public_url}/incidents/{number}",
            "started_at": incident.began_at,
            "page_id": self._page_id,
            "incident_updates": self._updates(incident),
            "components": [self._by_code[component.value] for component in incident.components],
        }

    def _updates(self, incident: Incident) -> list[UpdateShape]:
        # Numbered from the first on, which no later update changes.
        count = len(incident.updates)
        return [
            UpdateShape(
                id=f"{incident.id}-{count - index}",
                status=update.status.value,
                body=update.body,
                incident_id=str(incident.id),
                created_at=update.created_at,
                updated_at=update.created_at,
                display_at=update.created_at,
                affected_components=self._affected(incident, update.status),
            )
            for index, update in enumerate(incident.updates)
        ]

    def _affected(self, incident: Incident, said: IncidentStatus) -> list[AffectedShape]:
        status: ComponentStatus = _IMPACT_STATUSES[incident.impact]
        if incident.kind is IncidentKind.MAINTENANCE:
            status = "under_maintenance" if said is IncidentStatus.IN_PROGRESS else "operational"
        elif said.is_over or said is IncidentStatus.POSTMORTEM:
            status = "operational"
        return [
            AffectedShape(code=component.value, name=component.title, old_status=status, new_status=status)
            for component in incident.components
        ]


def _checked(components: Sequence[ComponentReport]) -> list[datetime]:
    return [report.checked_at for report in components if report.checked_at is not None]
