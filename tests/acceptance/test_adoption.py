"""A database that the original application has lived in is adopted, and billed once by the written rule."""

import asyncpg
import pytest

from support import catalog, charges, databases, roles
from support.adopted_model import assert_charged_like, model_of
from support.processes import Processes

# What a billing run may change in rows that were there before; "touch" is the original's own trigger.
CHANGED_BY_BILLING = {"wallets": {"balance", "updated_at"}, "vps_instances": {"last_billed_at", "updated_at"}}


def unbilled(rows: catalog.Rows) -> dict[tuple[str, object], dict[str, object]]:
    """Return each row by table and primary key (the first column), without what billing may change."""
    return {
        (table, next(iter(row.values()))): {
            name: value for name, value in row.items() if name not in CHANGED_BY_BILLING.get(table, ())
        }
        for table, listed in rows.items()
        for row in listed
    }


@pytest.mark.main_path
async def test_an_adopted_database_keeps_every_row_and_is_billed_by_the_rule(
    schema_a_url: str, processes: Processes
) -> None:
    connection = await databases.connect(schema_a_url)
    before = catalog.rows(schema_a_url)
    model = await model_of(connection)

    for _ in range(2):
        await processes.succeed("containerstacks", "migrate", database_url=schema_a_url)
        roles.grant(schema_a_url)
    assert catalog.rows(schema_a_url, like=before) == before

    # Some are owed more than a day: nothing is charged before somebody has looked.
    paused = await processes.run("containerstacks-billing-daemon", "once", database_url=schema_a_url)
    assert paused.exit_code == 1
    assert "more than a day" in paused.output + paused.errors
    assert await charges.hours_billed(connection) == {}

    await processes.succeed(
        "containerstacks", "billing", "resume", "--reason", "looked at it", database_url=schema_a_url
    )
    for _ in range(2):
        await processes.bill_once(schema_a_url)

    model.run(await connection.fetchval("select clock_now()"))
    await assert_charged_like(connection, model)
    kept = unbilled(before)
    after = unbilled(catalog.rows(schema_a_url, like=before))
    assert {key: row for key, row in after.items() if key in kept} == kept
    await processes.find_no_damage(schema_a_url)
    await connection.close()


async def test_the_later_version_is_adopted(schema_b_url: str, processes: Processes) -> None:
    await processes.succeed("containerstacks", "migrate", database_url=schema_b_url)
    roles.grant(schema_b_url)
    await processes.bill_once(schema_b_url)
    connection = await asyncpg.connect(schema_b_url)
    # The single run was there for the guard, and left no heartbeat behind.
    assert await connection.fetch("select from billing_daemon_status") == []
    await connection.close()
