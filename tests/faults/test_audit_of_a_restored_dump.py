"""A restored dump gives every row a new transaction: an audit that goes by those must neither cry wolf nor go blind."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from containerstacks_shared.schema import migrate
from support import fleet, roles
from support.backups import Dump, backup_folder
from support.billing import Billing, billing_on
from support.databases import DatabaseServer, embedded_postgres
from support.fleet import Organization, Plan
from support.mutants import MUTANTS, spoil

RUNS = 3


@pytest.fixture(params=["instances last", "instances first"])
async def restored(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Billing, Organization, Plan]]:
    """Give a fleet that was billed for some hours, on the server that its dump was restored to."""
    with embedded_postgres() as server, backup_folder() as folder:
        dsn = DatabaseServer(server.start()).create("dumped")
        await asyncio.to_thread(migrate, dsn)
        roles.grant(dsn)
        async with billing_on(dsn) as billing:
            plan = await fleet.add_plan(billing.connection)
            organization = await fleet.add_organization(billing.connection)
            await fleet.add_instance(billing.connection, organization, plan, hours_due=2)
            for _ in range(RUNS):
                await billing.run()
                await billing.pass_hours(1)
            # It has been due for hours, and no run has seen it.
            await fleet.add_instance(billing.connection, organization, plan, hours_due=5)
            assert await billing.verify() == []
            offset = billing.offset
        dump = Dump(folder)
        await asyncio.to_thread(dump.take, server, dsn)
        with dump.restored(dsn) as again:
            async with billing_on(again) as billing:
                billing.offset = offset
                if request.param == "instances first":
                    # As `pg_restore --jobs` may do: by size, not by name.
                    await billing.connection.execute("update billing_runs set status = status")
                yield billing, organization, plan


async def test_hours_no_run_has_seen_are_not_a_finding_after_a_restore(
    restored: tuple[Billing, Organization, Plan],
) -> None:
    billing, *_ = restored
    assert await billing.verify() == []
    for _ in range(RUNS):
        await billing.run()
        assert await billing.verify() == []
        await billing.pass_hours(1)


async def test_hours_that_runs_skip_after_a_restore_are_reported(
    restored: tuple[Billing, Organization, Plan],
) -> None:
    billing, organization, plan = restored
    await billing.run()
    await spoil(billing.connection, MUTANTS["only what runs"])
    left_out = await fleet.add_instance(billing.connection, organization, plan, status="stopped", hours_due=2)
    for _ in range(RUNS):
        await billing.run()
        await billing.pass_hours(1)
    found = {(finding.check, finding.key) for finding in await billing.verify()}
    assert ("hours_left_out", str(left_out)) in found
