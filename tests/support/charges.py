"""What was charged, read back from the rows: chains of hours, debits, balances."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import asyncpg

from containerstacks_shared.database.db import Connection
from support import fleet
from support.fleet import Organization

RATE = Decimal("0.01")

# Of ours: rows that an adopted database brought along carry no run.
CYCLES = """
select c.vps_instance_id, c.billing_period_start, c.billing_period_end, c.hourly_rate, c.total_amount,
       t.amount as debited, extract(epoch from c.billing_period_end - c.billing_period_start) / 3600 as hours
  from vps_billing_cycles c
  left join payment_transactions t on t.id = c.payment_transaction_id
 where c.billing_run_id is not null
   and c.status = 'billed'
 order by c.vps_instance_id, c.billing_period_start
"""


@dataclass(frozen=True)
class DueFleet:
    """Organizations in the order in which a run comes to them, each with instances that owe the same hours."""

    organizations: list[Organization]
    instances: dict[UUID, list[UUID]]
    hours: int

    @property
    def expected(self) -> dict[UUID, int]:
        return {instance: self.hours for instances in self.instances.values() for instance in instances}


async def add_due_fleet(
    connection: Connection, *, organizations: int = 6, instances: int = 4, hours: int = 3
) -> DueFleet:
    plan = await fleet.add_plan(connection)
    added = [await fleet.add_organization(connection, balance="100.00") for _ in range(organizations)]
    added.sort(key=lambda organization: organization.id)
    return DueFleet(
        added,
        {
            organization.id: [
                await fleet.add_instance(connection, organization, plan, hours_due=hours)
                for _ in range(instances)
            ]
            for organization in added
        },
        hours,
    )


async def hours_billed(connection: Connection) -> dict[UUID, int]:
    """Return the hours billed of each instance, after checking that they are one chain, each paid for exactly."""
    cycles: dict[UUID, list[asyncpg.Record]] = {}
    for cycle in await connection.fetch(CYCLES):
        assert cycle["debited"] == -cycle["total_amount"], cycle
        assert cycle["total_amount"] == cycle["hours"] * cycle["hourly_rate"], cycle
        cycles.setdefault(UUID(str(cycle["vps_instance_id"])), []).append(cycle)
    billed_until = {
        row["id"]: row["last_billed_at"]
        for row in await connection.fetch("select id, last_billed_at from vps_instances")
    }
    for instance, chain in cycles.items():
        for earlier, later in pairwise(chain):
            assert earlier["billing_period_end"] == later["billing_period_start"], (earlier, later)
        assert chain[-1]["billing_period_end"] == billed_until[instance], chain[-1]
    return {instance: int(sum(cycle["hours"] for cycle in chain)) for instance, chain in cycles.items()}


async def runs(connection: Connection) -> list[tuple[str, str, str]]:
    """Return the biller, the trigger and the status of each run."""
    rows = await connection.fetch("select biller, trigger, status from billing_runs order by id")
    return [(row["biller"], row["trigger"], row["status"]) for row in rows]


@contextlib.asynccontextmanager
async def wallet_locked(dsn: str, organization: Organization) -> AsyncIterator[int]:
    """Lock the wallet's row, so that a run waits for it; give the pid of the locking backend."""
    holder = await asyncpg.connect(dsn)
    try:
        async with holder.transaction():
            await holder.execute("select from wallets where id = $1 for update", organization.wallet_id)
            yield holder.get_server_pid()
    finally:
        await holder.close()


async def refuse_cycles(connection: Connection | asyncpg.Connection) -> None:
    """Let every charge fail, until the constraint `refused` is dropped."""
    await connection.execute(
        "alter table vps_billing_cycles add constraint refused check (total_amount < 0) not valid"
    )
