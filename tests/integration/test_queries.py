"""Every query against the migrated schema: a renamed column fails here, in a second."""

import asyncpg
import pytest

from containerstacks_shared.core.queries import load, modules


@pytest.mark.parametrize("module", modules())
async def test_every_query_can_be_prepared(module: str, connection: asyncpg.Connection) -> None:
    problems: dict[str, str] = {}
    for name, query in load(module).items():
        try:
            await connection.prepare(query)
        except asyncpg.PostgresError as error:
            problems[name] = str(error)
    assert problems == {}
