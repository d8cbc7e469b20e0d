"""What the aggregator would write down half a minute after its start."""

from containerstacks_shared.component_rules import Finding
from containerstacks_shared.db import Connection
from containerstacks_shared.models_status import Component, ComponentState
from containerstacks_shared.store import components


async def find_all_well(connection: Connection) -> None:
    """Record that every component works, and announce it: true for a minute."""
    works = Finding(ComponentState.OPERATIONAL, "It works.")
    await components.save_states(connection, dict.fromkeys(Component, works))
