"""The component states that an aggregator records half a minute after its start."""

from containerstacks_shared.database.db import Connection
from containerstacks_shared.status import components
from containerstacks_shared.status.component_rules import Finding
from containerstacks_shared.status.documents import Component, ComponentState


async def find_all_well(connection: Connection) -> None:
    """Record that every component works, and announce it: true for a minute."""
    works = Finding(ComponentState.OPERATIONAL, "It works.")
    await components.save_states(connection, dict.fromkeys(Component, works))
