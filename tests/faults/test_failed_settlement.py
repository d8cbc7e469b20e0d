"""A top-up whose run fails: nobody needs to say it again."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from support import fleet
from support.billers import KINDS, biller
from support.billing import in_the_way
from support.waiting import eventually, session_waiting_for

OPEN_DEBTS = "select count(*) from vps_debts where settled_at is null"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_settlement_that_lost_its_session_is_tried_again_without_another_hint(
    kind: str, database_url: str, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    organization = await fleet.add_organization(connection, balance="0.00")
    instance = await fleet.add_instance(
        connection, organization, await fleet.add_plan(connection), hours_due=2
    )
    async with biller(kind, database_url, tmp_path):
        await eventually(debts(connection, 1))
        async with in_the_way(
            database_url, "select from vps_instances where id = $1 for update", instance
        ) as holder:
            await connection.execute(
                "update wallets set balance = balance + 10 where id = $1", organization.wallet_id
            )
            victim = await session_waiting_for(connection, holder.get_server_pid())
            await connection.execute("select pg_terminate_backend($1)", victim)
        await eventually(debts(connection, 0))


def debts(connection: asyncpg.Connection, expected: int) -> Callable[[], Awaitable[bool]]:
    async def counted() -> bool:
        return bool(await connection.fetchval(OPEN_DEBTS) == expected)

    return counted
