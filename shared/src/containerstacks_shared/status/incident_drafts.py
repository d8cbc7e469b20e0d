"""What administrators send to open, plan or change an incident."""

from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from containerstacks_shared.core.documents import Document, text_only

from .documents import Component, Impact, IncidentKind, IncidentStatus


def _in_page_order(components: tuple[Component, ...]) -> tuple[Component, ...]:
    return tuple(component for component in Component if component in components)


# Neither PostgreSQL nor a feed takes every character; a body may have lines and tabs. Something besides space has to
# be there, which the description says, too.
_TITLE: Final = r"\x00-\x1f\x7f\ufffe\uffff"
_BODY: Final = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff"


Title = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=200,
        pattern=rf"^[^{_TITLE}]*[^\s{_TITLE}][^{_TITLE}]*$",
    ),
]


Body = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=5000,
        pattern=rf"^[^{_BODY}]*[^\s{_BODY}][^{_BODY}]*$",
    ),
]


Moment = Annotated[AwareDatetime, BeforeValidator(text_only)]


Components = Annotated[tuple[Component, ...], Field(min_length=1), AfterValidator(_in_page_order)]


class _Sent(Document):
    model_config = ConfigDict(extra="forbid")


class IncidentDraft(_Sent):
    """An incident to open."""

    kind: Literal[IncidentKind.INCIDENT]
    title: Title
    body: Body
    components: Components
    impact: Impact = Impact.MINOR
    status: Literal[IncidentStatus.INVESTIGATING, IncidentStatus.IDENTIFIED, IncidentStatus.MONITORING] = (
        IncidentStatus.INVESTIGATING
    )
    started_at: Moment | None = Field(default=None, description="When it began, if not just now.")


class MaintenanceDraft(_Sent):
    """A maintenance to plan. It begins and ends by itself."""

    kind: Literal[IncidentKind.MAINTENANCE]
    title: Title
    body: Body
    components: Components
    starts_at: Moment
    ends_at: Moment


class IncidentChange(_Sent):
    """Changes to an incident or maintenance; a status or a body makes a public update.

    Of a maintenance the status may become `cancelled`, or `completed` to end it now. `postmortem` adds an account of a
    resolved incident, which stays resolved.
    """

    title: Title | None = None
    impact: Impact | None = None
    components: Components | None = None
    status: IncidentStatus | None = None
    body: Body | None = None
    started_at: Moment | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None
