"""The services really come as their own roles here, so what this folder shows works is what they may do."""

import asyncpg
import pytest

from support import charges, roles
from support.processes import Processes
from support.waiting import eventually

WHO = """
select application_name, array_agg(distinct usename::text) as names
  from pg_stat_activity
 where datname = current_database()
   and application_name = any ($1)
 group by application_name
"""


async def test_each_service_has_its_own_role_and_web_moves_money_by_billing_only(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=2, instances=2, hours=2)
    # No daemon yet: web bills.
    web = await processes.start_web(database_url)
    await eventually(lambda: charged(connection, due.expected))
    written_by = await connection.fetch(
        "select distinct written_by from wallet_ledger_entries where kind = 'charge'"
    )
    assert [row["written_by"] for row in written_by] == [roles.WEB]

    daemon = await processes.start_billing_daemon(database_url)
    aggregator = await processes.start_stats_aggregator(database_url)
    found = {
        row["application_name"]: row["names"] for row in await connection.fetch(WHO, list(roles.ROLE_OF))
    }
    assert found == {command: [role] for command, role in roles.ROLE_OF.items()}

    as_web = await asyncpg.connect(roles.as_role(database_url, roles.WEB))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_web.execute("update wallets set balance = balance + 1")
    await as_web.close()
    as_aggregator = await asyncpg.connect(roles.as_role(database_url, roles.STATS_AGGREGATOR))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_aggregator.fetch("select balance from wallets")
    await as_aggregator.close()
    for service in (web, daemon, aggregator):
        assert await service.terminate() == 0, service.log
        assert "permission denied" not in service.log


async def charged(connection: asyncpg.Connection, expected: object) -> bool:
    return await charges.hours_billed(connection) == expected
