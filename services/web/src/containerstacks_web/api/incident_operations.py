"""What the API's description says of components, incidents, feed and badges."""

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler

from containerstacks_shared.fleet.permissions import Permission
from containerstacks_shared.status.documents import Component, IncidentKind
from containerstacks_shared.status.incident_drafts import IncidentChange
from containerstacks_web.live.board import PAGE_INCIDENTS

from . import atom, badges, calendar, incidents
from . import statuspage_handlers as v2
from .documents import ComponentsDocument, IncidentDocument, IncidentsDocument
from .incidents import INCIDENTS_MAX, IncidentRequest
from .operation import Operation, Parameter, Tag, below, in_pages, number_in_path
from .statuspage import ComponentsAnswer, IncidentsAnswer, MaintenancesAnswer, StatusAnswer, SummaryAnswer

_ID: Final = number_in_path("The incident's id.", 1)
_NOT_THERE: Final = (404, "There is no incident of this id.")

INCIDENT_OPERATIONS: Final[Mapping[Handler, Operation]] = {
    incidents.read_components: Operation(
        "listComponents",
        "What each component is like, and was",
        "State, uptime per 24 hours, 7, 30 and 90 days, and 90 daily bars of UTC, by published rules. `no_data` is"
        " what was not monitored. `stale`: newer states could not be read since `lastUpdated`.",
        ComponentsDocument,
        Tag.INCIDENTS,
        cached=True,
    ),
    incidents.list_incidents: in_pages(
        below("id"),
        Operation(
            "listIncidents",
            "Incidents and maintenance, newest first",
            "Open and closed, with everything that was said.",
            IncidentsDocument,
            Tag.INCIDENTS,
            cached=True,
            parameters=(
                Parameter("kind", "Only these.", {"type": "string", "enum": [*map(str, IncidentKind)]}),
            ),
        ),
        usual=PAGE_INCIDENTS,
        most=INCIDENTS_MAX,
    ),
    incidents.open_incident: Operation(
        "openIncident",
        "Open an incident, or plan a maintenance",
        "`kind` says which. A maintenance begins and ends by itself; its components are in maintenance meanwhile.",
        IncidentDocument,
        Tag.INCIDENTS,
        status=201,
        needs=Permission.PUBLISH,
        request_document=IncidentRequest,
        sent={
            "kind": "incident",
            "title": "Slow disks in Frankfurt",
            "body": "We are investigating.",
            "impact": "minor",
            "components": ["vps"],
        },
        headers=(("Location", "The address of what was opened."),),
        problems=((409, "The window of the maintenance is impossible, such as one in the past."),),
    ),
    incidents.read_incident: Operation(
        "getIncident",
        "One incident or maintenance",
        "With everything that was said, the newest first.",
        IncidentDocument,
        Tag.INCIDENTS,
        cached=True,
        parameters=(_ID,),
        problems=(_NOT_THERE,),
    ),
    incidents.change_incident: Operation(
        "changeIncident",
        "Update or close an incident; change, end or cancel a maintenance",
        "Fields that are left out stay as they are. A `status` or a `body` makes a public update.",
        IncidentDocument,
        Tag.INCIDENTS,
        needs=Permission.PUBLISH,
        request_document=IncidentChange,
        sent={"status": "resolved", "body": "The disks are as fast as before."},
        parameters=(_ID,),
        problems=(_NOT_THERE, (409, "The change does not fit the present state, such as closing it twice.")),
    ),
    **{
        handler: Operation(
            operation_id,
            summary,
            "In the shape of Statuspage's public API, for programs that read that. Any site's page may read it.",
            document,
            Tag.STATUSPAGE,
            cached=True,
        )
        for handler, operation_id, summary, document in (
            (v2.summary, "getV2Summary", "Everything at once", SummaryAnswer),
            (v2.status, "getV2Status", "The verdict", StatusAnswer),
            (v2.components, "listV2Components", "The components", ComponentsAnswer),
            (v2.all_incidents, "listV2Incidents", "The latest 50 incidents", IncidentsAnswer),
            (v2.unresolved_incidents, "listV2Unresolved", "The open incidents", IncidentsAnswer),
            (v2.all_maintenances, "listV2Maintenances", "The latest 50 maintenances", MaintenancesAnswer),
            (v2.upcoming_maintenances, "listV2Upcoming", "Planned maintenance", MaintenancesAnswer),
            (v2.active_maintenances, "listV2Active", "Maintenance in progress", MaintenancesAnswer),
        )
    },
    calendar.calendar: Operation(
        "getCalendar",
        "Planned maintenance as a calendar",
        "An event for each, under an id that never changes.",
        str,
        Tag.INCIDENTS,
        cached=True,
        content_type="text/calendar",
    ),
    atom.feed: Operation(
        "getFeed",
        "The latest incidents and maintenance as an Atom feed",
        "An entry for each, which changes when something is said.",
        str,
        Tag.INCIDENTS,
        cached=True,
        content_type="application/atom+xml",
    ),
    badges.badge: Operation(
        "getBadge",
        "The state of a component, or of all, as a picture",
        "May be shown on other sites, and kept for half a minute.",
        str,
        Tag.INCIDENTS,
        cached=True,
        parameters=(
            Parameter(
                "name",
                "A component, or `status` for all.",
                {"type": "string", "enum": ["status", *map(str, Component)]},
                "path",
                "status",
            ),
        ),
        content_type="image/svg+xml",
        problems=((404, "There is no such component."),),
    ),
}
