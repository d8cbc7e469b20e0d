"""/admin/incidents/templates: what an incident begins with."""

from collections.abc import Sequence
from typing import Final

import structlog
from aiohttp import web

from containerstacks_shared.status import incident_templates
from containerstacks_shared.status.documents import Impact
from containerstacks_shared.status.incident_templates import IncidentTemplate, TemplateDraft
from containerstacks_web.http.exchange import number_in_path
from containerstacks_web.http.identity import Identity
from containerstacks_web.rendering.templates import render
from containerstacks_web.sign_in.messages import leave_message

from .access import database
from .forms import Form, checked, read_form
from .incidents import INCIDENT_CHOICES

_PATH: Final = "/admin/incidents/templates"
_NAME_TAKEN: Final = "Another template has this name."

_log = structlog.get_logger(__name__)


async def show_list(request: web.Request, _identity: Identity) -> web.Response:
    return await _page(request, Form({"impact": [Impact.MINOR]}))


async def add(request: web.Request, identity: Identity) -> web.Response:
    form = await read_form(request)
    draft, problems = _read(form)
    if draft is None:
        return await _page(request, form.with_problems(problems))
    async with database(request) as connection:
        added = await incident_templates.add(connection, draft, author=identity.author)
    if not added:
        return await _page(request, form.with_problem("name", _NAME_TAKEN))
    _log.info("incident_template.added", name=draft.name, author=identity.author)
    await leave_message(request, "Template saved.")
    raise web.HTTPSeeOther(_PATH)


async def show(request: web.Request, _identity: Identity) -> web.Response:
    template = await _find(request)
    values: dict[str, Sequence[str]] = {
        "name": [template.name],
        "title": [template.title],
        "body": [template.body],
        "impact": [template.impact],
        "components": list(template.components),
    }
    return await _page(request, Form(values), template=template)


async def change(request: web.Request, identity: Identity) -> web.Response:
    form = await read_form(request)
    if form.value("form") == "delete":
        async with database(request) as connection:
            await incident_templates.delete(connection, number_in_path(request))
        _log.info("incident_template.deleted", template_id=number_in_path(request), author=identity.author)
        await leave_message(request, "Template deleted.")
        raise web.HTTPSeeOther(_PATH)
    template = await _find(request)
    draft, problems = _read(form)
    if draft is None:
        return await _page(request, form.with_problems(problems), template=template)
    async with database(request) as connection:
        changed = await incident_templates.change(connection, template.id, draft, author=identity.author)
    if not changed:
        return await _page(request, form.with_problem("name", _NAME_TAKEN), template=template)
    _log.info("incident_template.changed", template_id=template.id, author=identity.author)
    await leave_message(request, "Template saved.")
    raise web.HTTPSeeOther(_PATH)


def _read(form: Form) -> tuple[TemplateDraft | None, dict[str, str]]:
    values: dict[str, object] = {name: form.value(name).strip() for name in ("name", "title", "body")}
    values["components"] = list(form.values.get("components", ()))
    if impact := form.value("impact"):
        values["impact"] = impact
    return checked(TemplateDraft, values)


async def _find(request: web.Request) -> IncidentTemplate:
    async with database(request) as connection:
        return await incident_templates.find(connection, number_in_path(request))


async def _page(
    request: web.Request, form: Form, *, template: IncidentTemplate | None = None
) -> web.Response:
    async with database(request) as connection:
        templates = await incident_templates.read_all(connection)
    context = {
        "form": form,
        "template": template,
        "templates": templates,
        **INCIDENT_CHOICES,
    }
    return await render(request, "admin/incident_templates.html", context, status=form.status)
