"""The state of all components in Statuspage's words: for programs that read those, and for small places."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from .component_rules import overall
from .documents import ComponentState


@dataclass(frozen=True)
class Indicator:
    """The format has no value for unknown, which is shown as `minor`, never as `none`."""

    indicator: Literal["none", "minor", "major", "critical"]
    description: str


_WORDS: Final[Mapping[ComponentState, Indicator]] = {
    ComponentState.OPERATIONAL: Indicator("none", "All Systems Operational"),
    ComponentState.DOWN: Indicator("major", "Partial System Outage"),
    ComponentState.DEGRADED: Indicator("minor", "Partially Degraded Service"),
    ComponentState.MAINTENANCE: Indicator("minor", "Service Under Maintenance"),
    ComponentState.NO_DATA: Indicator("minor", "Status Unknown"),
}
_ALL_DOWN: Final = Indicator("critical", "Major System Outage")


def indicate(states: Iterable[ComponentState]) -> Indicator:
    present = set(states)
    return _ALL_DOWN if present == {ComponentState.DOWN} else _WORDS[overall(present)]
