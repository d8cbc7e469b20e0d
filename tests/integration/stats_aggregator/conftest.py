"""What a test of the aggregator's parts does as the one that leads."""

from collections.abc import AsyncIterator

import pytest

from containerstacks_shared.database.locks import Leadership, Role, Term


@pytest.fixture
async def term(database_url: str) -> AsyncIterator[Term]:
    async with Leadership(database_url, Role.STATS_AGGREGATOR, service="tests") as leadership:
        term = await leadership.try_acquire()
        assert term is not None
        yield term
