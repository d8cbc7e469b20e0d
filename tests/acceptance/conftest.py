"""Fixtures of the acceptance tests: a PostgreSQL that a test may stop."""

from collections.abc import Iterator

import pytest

from containerstacks_shared.embedded import EmbeddedPostgres
from support import databases


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """Give a running server that belongs to this test alone; it keeps its port when it starts again."""
    with databases.embedded_postgres() as postgres:
        postgres.start()
        yield postgres
