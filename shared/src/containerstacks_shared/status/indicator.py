"""The state of all components in Statuspage's words: for programs that read those, and for small places."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

from .component_rules import overall
from .documents import ComponentState


@dataclass(frozen=True)
class Indicator:
    """The format has no value for unknown, which is shown as `minor`, never as `none`."""

    indicator: Literal["none", "minor", "major", "critical"]
    description: str


def indicate(states: Iterable[ComponentState]) -> Indicator:
    present = set(states)
    match overall(present):
        case ComponentState.OPERATIONAL:
            return Indicator("none", "All Systems Operational")
        case ComponentState.DOWN:
            is_all = present == {ComponentState.DOWN}
            return (
                Indicator("critical", "Major System Outage")
                if is_all
                else Indicator("major", "Partial System Outage")
            )
        case ComponentState.DEGRADED:
            return Indicator("minor", "Partially Degraded Service")
        case ComponentState.MAINTENANCE:
            return Indicator("minor", "Service Under Maintenance")
        case ComponentState.NO_DATA:
            return Indicator("minor", "Status Unknown")
        case other:
            assert_never(other)
