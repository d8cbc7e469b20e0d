"""/admin/incidents: open, update and close incidents, and plan maintenance."""

from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import web

from containerstacks_shared.core.errors import ChangeRefused, as_sentence
from containerstacks_shared.status import incident_suggestions, incident_templates, incidents
from containerstacks_shared.status.documents import Component, Impact, Incident, IncidentId, IncidentKind
from containerstacks_shared.status.incident_drafts import IncidentChange, IncidentDraft, MaintenanceDraft
from containerstacks_shared.status.incident_suggestions import Suggestion
from containerstacks_shared.status.incident_templates import IncidentTemplate
from containerstacks_web.actions import incidents as actions
from containerstacks_web.http.exchange import number_in_path, whole_number
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render
from containerstacks_web.sign_in.messages import leave_message

from .access import database
from .forms import Form, checked, read_form

_PATH: Final = "/admin/incidents"
_INCIDENTS_ON_PAGE: Final = 20
_MOMENTS: Final = ("started_at", "starts_at", "ends_at")
_FIELDS: Final = ("title", "body", "impact", "status", *_MOMENTS)
# What the form of each kind becomes, the moment it begins at, and its further fields.
_DRAFTS: Final[Mapping[IncidentKind, tuple[type[IncidentDraft | MaintenanceDraft], str, Sequence[str]]]] = {
    IncidentKind.INCIDENT: (IncidentDraft, "started_at", ("impact", "status")),
    IncidentKind.MAINTENANCE: (MaintenanceDraft, "starts_at", ("ends_at",)),
}
# What the forms of incidents and of templates offer.
INCIDENT_CHOICES: Final[Mapping[str, object]] = {
    "components": [(component.value, component.title) for component in Component],
    "impacts": list(Impact),
}


async def show_list(request: web.Request, _identity: Identity) -> web.Response:
    before = whole_number(request, "before")
    async with database(request) as connection:
        current = await incidents.read_current(connection)
        cursor = None if before is None else IncidentId(before)
        page = await incidents.read_page(connection, limit=_INCIDENTS_ON_PAGE, before=cursor)
        measured = await incident_suggestions.read(connection, current)
    context = {
        "suggestions": measured,
        "current": current,
        "past": [incident for incident in page.incidents if incident.status.is_over],
        "newer": _PATH if before is not None else None,
        "older": None if page.next_before is None else f"{_PATH}?before={page.next_before}",
    }
    return await render(request, "admin/incidents.html", context)


async def show_opening(request: web.Request, _identity: Identity) -> web.Response:
    """Begin with nothing, with a template, or with what was measured. Only the form publishes anything."""
    begun = Form({"impact": [Impact.MINOR]})
    async with database(request) as connection:
        templates = await incident_templates.read_all(connection)
        if chosen := next(
            (each for each in templates if str(each.id) == request.query.get("template")), None
        ):
            begun = _begun(chosen)
        elif component := request.query.get("component"):
            current = await incidents.read_current(connection)
            suggested = await incident_suggestions.read(connection, current)
            begun = next((_begun(each) for each in suggested if component in each.components), begun)
    return await _draft_page(request, IncidentKind.INCIDENT, begun, templates=templates)


async def show_planning(request: web.Request, _identity: Identity) -> web.Response:
    return await _draft_page(request, IncidentKind.MAINTENANCE, Form())


async def open_incident(request: web.Request, identity: Identity) -> web.Response:
    return await _publish(request, identity, IncidentKind.INCIDENT)


async def plan_maintenance(request: web.Request, identity: Identity) -> web.Response:
    return await _publish(request, identity, IncidentKind.MAINTENANCE)


async def _publish(request: web.Request, identity: Identity, kind: IncidentKind) -> web.Response:
    model, begins, fields = _DRAFTS[kind]
    form = await read_form(request)
    draft, problems = checked(model, {**_values(form, "title", "body", begins, *fields), "kind": kind})
    if draft is None:
        return await _draft_page(request, kind, form.with_problems(problems))
    try:
        async with database(request) as connection:
            incident = await actions.publish(connection, draft, identity)
    except ChangeRefused as error:
        return await _draft_page(request, kind, form.with_problem(begins, as_sentence(error)))
    is_incident = kind is IncidentKind.INCIDENT
    await leave_message(request, "Incident published." if is_incident else "Maintenance scheduled.")
    raise web.HTTPSeeOther(f"{_PATH}/{incident.id}")


async def show(request: web.Request, _identity: Identity) -> web.Response:
    incident = await _find(request)
    return await _incident_page(request, incident, _as_it_is(incident))


async def change(request: web.Request, identity: Identity) -> web.Response:
    """Take what was filled in; what is left empty stays as it is."""
    form = await read_form(request)
    incident = await _find(request)
    wanted, problems = checked(IncidentChange, _values(form, *_FIELDS, empty=False))
    is_update = form.value("form") == "update"
    if is_update and not form.value("body").strip() and form.value("status") in {"", incident.status}:
        problems["body"] = "Enter a message or choose another status."
    if wanted is None or problems:
        return await _refused(request, incident, form, problems)
    try:
        async with database(request) as connection:
            await actions.change(connection, IncidentId(incident.id), wanted, identity)
    except ChangeRefused as error:
        return await _refused(request, incident, form, {"body" if is_update else "title": as_sentence(error)})
    await leave_message(request, "Update published." if is_update else "Changes saved.")
    raise web.HTTPSeeOther(f"{_PATH}/{incident.id}")


async def _find(request: web.Request) -> Incident:
    async with database(request) as connection:
        return await incidents.read(connection, IncidentId(number_in_path(request)))


async def _refused(
    request: web.Request, incident: Incident, form: Form, problems: Mapping[str, str]
) -> web.Response:
    # The other form on the page shows what is there.
    kept = Form({**_as_it_is(incident).values, **form.values}, problems)
    return await _incident_page(request, incident, kept)


def _values(form: Form, *names: str, empty: bool = True) -> dict[str, object]:
    """Read the fields as the models name them; moments are typed without a zone, and are UTC."""
    values: dict[str, object] = {}
    for name in names:
        text = form.value(name).strip()
        if name in _MOMENTS and text:
            values[name] = text if text.endswith("Z") else f"{text}Z"
        elif name in form.values and (text or (empty and name not in {"impact", "status", "started_at"})):
            values[name] = text
    if "components" in form.values or empty:
        values["components"] = list(form.values.get("components", ()))
    return values


def _as_it_is(incident: Incident) -> Form:
    values: dict[str, list[str]] = {
        "title": [incident.title],
        "impact": [incident.impact],
        "status": [incident.status],
        "components": list(incident.components),
    }
    for name in _MOMENTS:
        moment = getattr(incident, name)
        is_usual = moment is None or (name == "started_at" and moment == incident.created_at)
        values[name] = [] if is_usual else [f"{moment:%Y-%m-%dT%H:%M}"]
    return Form(values)


def _begun(draft: IncidentTemplate | Suggestion) -> Form:
    return Form(
        {
            "title": [draft.title],
            "body": [draft.body],
            "impact": [draft.impact],
            "components": list(draft.components),
        }
    )


async def _draft_page(
    request: web.Request, kind: IncidentKind, form: Form, *, templates: Sequence[IncidentTemplate] = ()
) -> web.Response:
    context = {
        "templates": templates,
        "kind": kind,
        "form": form,
        **INCIDENT_CHOICES,
        "statuses": incidents.OPEN_STATUSES,
    }
    return await render(request, "admin/incident_draft.html", context, status=form.status)


async def _incident_page(request: web.Request, incident: Incident, form: Form) -> web.Response:
    context = {
        "incident": incident,
        "form": form,
        **INCIDENT_CHOICES,
        "statuses": incidents.possible_statuses(incident),
    }
    return await render(request, "admin/incident.html", context, status=form.status)
