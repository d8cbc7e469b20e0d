"""Fixtures of the acceptance tests: services under the roles that operators give them.

What `containerstacks up` starts, and what every other tier starts as processes, has one role for all.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.processes import Processes


@pytest.fixture
async def processes(tmp_path: Path, migrated_template: str) -> AsyncIterator[Processes]:
    """Start the real services, each as its own role of the database, which the template brought to the server."""
    assert migrated_template
    processes = Processes(tmp_path, under_roles=True)
    yield processes
    await processes.end_all()
