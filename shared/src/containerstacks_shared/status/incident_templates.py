"""What administrators begin an incident with: words that were weighed on a calm day."""

from typing import Annotated

from pydantic import Field

from containerstacks_shared.core.documents import Document
from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from .documents import Component, Impact
from .incident_drafts import Body, Components, Title

_QUERIES = load(__name__)


class TemplateDraft(Document):
    """The fields of a new template, or of one that replaces another."""

    name: Annotated[Title, Field(max_length=100)]
    title: Title
    body: Body
    impact: Impact = Impact.MINOR
    components: Components


class IncidentTemplate(Document):
    id: int
    name: str
    title: str
    body: str
    impact: Impact
    components: tuple[Component, ...]


async def read_all(connection: Connection) -> list[IncidentTemplate]:
    return [IncidentTemplate(**dict(row)) for row in await connection.fetch(_QUERIES["all"])]


async def find(connection: Connection, template_id: int) -> IncidentTemplate:
    """Raises `NotFound`."""
    row = await connection.fetchrow(_QUERIES["find"], template_id)
    if row is None:
        raise NotFound(f"there is no template {template_id}")
    return IncidentTemplate(**dict(row))


async def add(connection: Connection, draft: TemplateDraft, *, author: str) -> bool:
    """Add a template; False when its name is taken."""
    return await connection.fetchval(_QUERIES["add"], *_values(draft), author) is not None


async def change(connection: Connection, template_id: int, draft: TemplateDraft, *, author: str) -> bool:
    """Put the draft in the template's place; False when another one has its name, or it is gone."""
    return await connection.fetchval(_QUERIES["change"], *_values(draft), author, template_id) is not None


async def delete(connection: Connection, template_id: int) -> None:
    await connection.execute(_QUERIES["delete"], template_id)


def _values(draft: TemplateDraft) -> tuple[object, ...]:
    return draft.name, draft.title, draft.body, draft.impact.value, [*map(str, draft.components)]
