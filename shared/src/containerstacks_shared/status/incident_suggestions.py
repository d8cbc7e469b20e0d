"""Drafts of incidents from what was measured: a person decides whether to publish one, and in which words."""

from collections.abc import Sequence
from dataclasses import dataclass

from containerstacks_shared.database.db import Connection

from . import components
from .documents import Component, ComponentState, Impact, Incident


@dataclass(frozen=True)
class Suggestion:
    """About one component. Nothing of it is stored, and nothing is published by itself."""

    title: str
    body: str
    impact: Impact
    components: tuple[Component, ...]
    because: str


async def read(connection: Connection, current: Sequence[Incident]) -> list[Suggestion]:
    """Suggest one for each component that is not well and that no incident or maintenance of `current` names."""
    named = {component for incident in current for component in incident.components}
    return [
        _suggest(measured.component, measured.state, measured.because)
        for measured in await components.read_now(connection, ())
        if measured.component not in named
        and measured.state in {ComponentState.DEGRADED, ComponentState.DOWN}
    ]


def _suggest(component: Component, state: ComponentState, because: str) -> Suggestion:
    is_down = state is ComponentState.DOWN
    return Suggestion(
        title=f"{'Outage' if is_down else 'Degraded performance'}: {component.title}",
        body=f"{because} We are investigating.",
        impact=Impact.MAJOR if is_down else Impact.MINOR,
        components=(component,),
        because=f"{component.title}: {because}",
    )
