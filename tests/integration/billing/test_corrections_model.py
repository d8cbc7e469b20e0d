"""Random lives with refunds, write-offs and archiving in them: every audit is clean, and no hour is covered twice."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from containerstacks_shared.billing.audit import audit
from containerstacks_shared.billing.charge import charge_organizations
from containerstacks_shared.billing.credits import credit_wallet
from containerstacks_shared.billing.refunds import refund_cycle, refund_run
from containerstacks_shared.billing.verify import verify
from containerstacks_shared.billing.write_offs import write_off_instance, write_off_organization
from containerstacks_shared.core.errors import BillingBusy
from support.archiving import archive_audited
from support.billing_world import World
from support.examples import examples

Event = tuple[Any, ...]

OPERATOR = {"reason": "for the test", "author": "ada"}

numbers = st.integers(0, 2)
prices = st.one_of(st.none(), st.just(Decimal(0)), st.decimals(Decimal("0.01"), Decimal(300), places=2))
amounts = st.decimals(Decimal("0.00000001"), Decimal(2), places=8)
gaps = st.timedeltas(timedelta(minutes=20), timedelta(days=3))
events = st.one_of(
    st.tuples(st.just("pass_time"), gaps),
    st.tuples(st.just("run")),
    st.tuples(st.just("run")),
    st.tuples(st.just("top_up"), numbers, amounts),
    st.tuples(st.just("reprice"), numbers, prices, prices),
    st.tuples(st.just("resize"), st.integers(0, 4), numbers),
    st.tuples(st.just("delete"), st.integers(0, 4)),
    st.tuples(st.just("refund_run"), st.integers(0, 9)),
    st.tuples(st.just("refund_cycle"), st.integers(0, 99)),
    st.tuples(st.just("forgive_organization"), numbers),
    st.tuples(st.just("forgive_instance"), st.integers(0, 4)),
    st.tuples(st.just("audit")),
    st.tuples(st.just("archive")),
)
CLOCK = "select coalesce(nullif(current_setting('containerstacks.clock_offset', true), ''), '0')::interval"
COVERED = """
select coalesce(sum(extract(epoch from billing_period_end - billing_period_start) / 3600), 0)::bigint
  from all_vps_billing_cycles()
 where organization_id = any ($1) and status in ('billed', 'refunded')
"""
MARKED = """
select coalesce(sum(extract(epoch from last_billed_at - created_at) / 3600), 0)::bigint
  from (select id, organization_id, created_at, last_billed_at from vps_instances
         union all
        select id, organization_id, created_at, last_billed_at from deleted_vps_instances) as instance
 where organization_id = any ($1)
"""


@dataclass
class CorrectedWorld(World):
    """The model knows no corrections, so here only the database goes on. Its clock is never set back."""

    first_run: int = 0

    async def run(self) -> None:
        await self.begin()
        charged = await charge_organizations(
            self.connection, list(self.organizations.values()), now=await self.now(), run_id=self.run_id
        )
        await self.connection.execute(
            "update billing_runs set status = 'succeeded', finished_at = clock_now(), instances_billed = $2,"
            " hours_billed = $3, amount_billed = $4 where id = $1",
            self.run_id,
            charged.instances_billed,
            charged.hours_billed,
            charged.amount_billed,
        )

    async def top_up(self, number: int, amount: Decimal) -> None:
        await credit_wallet(
            self.connection,
            organization=str(self.organizations[number]),
            amount=amount,
            reference=str(uuid4()),
            author="ada",
        )

    async def refund_run(self, back: int) -> None:
        run_id = await self.connection.fetchval(
            "select id from billing_runs where id >= $1 order by id offset $2 limit 1", self.first_run, back
        )
        if run_id is not None:
            await refund_run(self.connection, run_id, **OPERATOR)

    async def refund_cycle(self, number: int) -> None:
        cycle = await self.connection.fetchval(
            "select id from all_vps_billing_cycles() where organization_id = any ($1) and status = 'billed'"
            " order by id offset $2 limit 1",
            list(self.organizations.values()),
            number,
        )
        if cycle is not None:
            await refund_cycle(self.connection, cycle, **OPERATOR)

    async def archive(self) -> None:
        await archive_audited(self.connection)

    async def forgive_organization(self, number: int) -> None:
        await write_off_organization(self.connection, str(self.organizations[number]), **OPERATOR)

    async def forgive_instance(self, number: int) -> None:
        if number in self.instances:
            await write_off_instance(self.connection, self.instances[number], **OPERATOR)


async def live(world: CorrectedWorld, life: list[Event]) -> None:
    for name, *arguments in life:
        if name == "audit":
            assert (await audit(world.connection)).own == []
        elif name in ("resize", "delete") and arguments[0] not in world.instances:
            continue
        else:
            try:
                async with world.connection.transaction():
                    await getattr(world, name)(*arguments)
            except BillingBusy:
                # The wallet pays for it: there is nothing to forgive yet.
                assert name.startswith("forgive")


@examples(25)
@given(
    st.lists(amounts, min_size=3, max_size=3),
    st.lists(st.tuples(numbers, st.integers(0, 3), gaps), min_size=1, max_size=5),
    st.lists(events, max_size=25),
)
async def test_no_correction_breaks_an_invariant(
    connection: asyncpg.Connection,
    balances: list[Decimal],
    instances: list[tuple[int, int, timedelta]],
    life: list[Event],
) -> None:
    world = CorrectedWorld(connection, offset=await connection.fetchval(CLOCK))
    world.first_run = await connection.fetchval("select coalesce(max(id), 0) + 1 from billing_runs")
    async with connection.transaction():
        for number, balance in enumerate(balances):
            await world.add_organization(number, [balance])
            await world.add_plan(number, Decimal(5 + 100 * number), Decimal("2.30"))
        for number, (organization, plan, age) in enumerate(instances):
            await world.add_instance(number, organization, plan, age)
    await live(world, [*life, ("run",), ("audit",)])
    assert await verify(connection) == []
    organizations = list(world.organizations.values())
    assert await connection.fetchval(COVERED, organizations) == await connection.fetchval(
        MARKED, organizations
    )
