"""The application is upgraded under running services: they say so, and nothing is billed until a migration follows."""

import asyncpg
import pytest

from support import charges, promises
from support.processes import Processes
from support.waiting import becomes, eventually

# An upgrade without suspending us before: amounts are rounded, and the ledger is not kept.
UPGRADE = """
drop trigger containerstacks_ledger on wallets;
alter table wallets alter column balance type numeric(10, 2)
"""
CHANGES = ("wallets.balance is numeric(10,2)", "trigger containerstacks_ledger on wallets is gone")


@pytest.mark.timeout(300)
async def test_services_report_a_changed_schema_within_a_minute(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=2, hours=1)
    await processes.start_web(database_url)
    await processes.start_billing_daemon(database_url)
    aggregator = await processes.start_stats_aggregator(database_url)
    await becomes(lambda: charges.hours_billed(connection), due.expected)
    assert "schema.changed" not in aggregator.log

    await connection.execute(UPGRADE)

    def logged() -> bool:
        lines = [line for line in aggregator.log.splitlines() if "schema.changed" in line]
        return any(all(change in line for change in CHANGES) for line in lines)

    await eventually(logged, within=promises.SCHEMA_NOTICED_SECONDS)
    metrics = await aggregator.get_text("/metrics")
    assert "containerstacks_database_schema_changed 1.0" in metrics
    doctor = await processes.run("containerstacks", "doctor", database_url=database_url)
    assert doctor.exit_code != 0
    assert all(said in doctor.output for said in ("Nothing is billed until", *CHANGES))
    once = await processes.run("containerstacks-billing-daemon", "once", database_url=database_url)
    assert once.exit_code == 1
    assert CHANGES[0] in once.output + once.errors
