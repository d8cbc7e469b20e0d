"""Instances without new periods: a short audit compares their marks with chains that it does not read again."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest

from containerstacks_shared.billing.audit import Audit, audit
from support import fleet
from support.billing import Billing
from support.fleet import Organization

SET_MARK = "update vps_instances set last_billed_at = {} where id = $1"


def checks(done: Audit) -> set[str]:
    return {finding.check for finding in done.findings}


@dataclass(frozen=True)
class Idle:
    instance: UUID
    organization: Organization


@pytest.fixture(params=[1, 3, 30], ids="last paid for {} hours at once".format)
async def idle(request: pytest.FixtureRequest, billing: Billing, connection: asyncpg.Connection) -> Idle:
    """Charged first for two hours, then for some; then its money was spent, and two runs charged somebody else."""
    hours: int = request.param
    poor = await fleet.add_organization(connection, balance="0.02", slug="poor")
    instance = await billing.add_instance(poor, hours_due=2)
    await billing.bill_instance(hours_due=2)
    await billing.credit(poor, f"{hours / 100:.2f}")
    for passed in (hours, 1, 1):
        await billing.pass_hours(passed)
        await billing.run()
    assert await billing.hours_billed(instance) == 2 + hours
    assert (await audit(connection)).is_clean
    await billing.pass_hours(1)
    await billing.run()
    return Idle(instance, poor)


@pytest.mark.usefixtures("idle")
async def test_an_idle_instance_is_not_a_finding(connection: asyncpg.Connection) -> None:
    done = await audit(connection)
    assert done.based_on is not None
    assert done.is_clean


@pytest.mark.parametrize(
    "mark",
    [
        # Before its last period, inside it, behind it, nowhere.
        "(select max(billing_period_start) from vps_billing_cycles where vps_instance_id = id and status = 'billed')",
        "last_billed_at - interval '1 second'",
        "last_billed_at + interval '1 hour'",
        "null",
    ],
)
async def test_a_mark_that_was_moved_is_found(connection: asyncpg.Connection, idle: Idle, mark: str) -> None:
    # With it, marks only move forward.
    await connection.execute("set containerstacks.guard = 'off'")
    await connection.execute(SET_MARK.format(mark), idle.instance)
    done = await audit(connection)
    assert done.based_on is not None
    assert checks(done) == {"periods_beyond_last_billed"}


async def test_hours_left_out_before_it_pays_again_are_found(billing: Billing, idle: Idle) -> None:
    await billing.connection.execute(SET_MARK.format("last_billed_at + interval '1 hour'"), idle.instance)
    await billing.credit(idle.organization, "0.01", reference="again")
    await billing.run()
    assert "gaps_between_periods" in checks(await audit(billing.connection))


async def test_an_instance_that_resumes_is_not_a_finding(billing: Billing, idle: Idle) -> None:
    await billing.credit(idle.organization, "0.01", reference="again")
    assert (await billing.run()).charged.hours_billed == 1
    assert (await audit(billing.connection)).is_clean
