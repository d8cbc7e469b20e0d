"""A small world in which the same things happen to the database and to the model."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg

from containerstacks_shared.billing.charge import charge_organizations
from support.billing_model import HOUR, BillingModel, Hour, Instance
from support.clock import shift_clock


@dataclass
class World:
    """One connection, whose clock only moves forward by `pass_time`, and the model beside it.

    Things are named by small numbers; several worlds in one database do not meet.
    """

    connection: asyncpg.Connection
    model: BillingModel = field(default_factory=BillingModel)
    organizations: dict[int, UUID] = field(default_factory=dict)
    plans: dict[int, UUID] = field(default_factory=dict)
    instances: dict[int, UUID] = field(default_factory=dict)
    offset: timedelta = timedelta(0)
    run_id: int = 0
    # Ids in the order of their numbers, so that two worlds break ties alike.
    base: int = field(default_factory=lambda: uuid4().int & ~0xFFFF)

    async def begin(self) -> None:
        # Like a top-up's run it bills these organizations only: worlds before it are left alone.
        self.run_id = await self.connection.fetchval(
            "insert into billing_runs (biller, trigger, holder, term) values ('daemon', 'top_up', 'world', 0)"
            " returning id"
        )

    async def pass_time(self, duration: timedelta) -> None:
        self.offset += duration
        await shift_clock(self.connection, self.offset)

    async def now(self) -> datetime:
        """The transaction's time: what the triggers of this transaction write down."""
        now: datetime = await self.connection.fetchval("select clock_now()")
        return now

    async def add_organization(self, number: int, wallets: list[Decimal]) -> None:
        owner = await self.connection.fetchval(
            "insert into users (email, password_hash, name) values ($1, 'x', 'Owner') returning id",
            f"{uuid4()}@example.com",
        )
        identifier = await self.connection.fetchval(
            "insert into organizations (name, slug, owner_id) values ('World', $1, $2) returning id",
            str(uuid4()),
            owner,
        )
        self.organizations[number] = identifier
        for age, balance in enumerate(wallets):
            await self.connection.execute(
                "insert into wallets (organization_id, balance, created_at) values ($1, $2, now() - $3::interval)",
                identifier,
                balance,
                timedelta(days=len(wallets) - age),
            )
        if wallets:
            # The oldest pays.
            self.model.wallets[identifier] = wallets[0]

    async def top_up(self, number: int, amount: Decimal) -> None:
        identifier = self.organizations[number]
        if identifier in self.model.wallets:
            await self.connection.execute(
                "update wallets set balance = balance + $2 where id ="
                " (select id from wallets where organization_id = $1 order by created_at limit 1)",
                identifier,
                amount,
            )
            self.model.wallets[identifier] += amount

    async def add_plan(self, number: int, base: Decimal | None, markup: Decimal | None) -> None:
        identifier = await self.connection.fetchval(
            "insert into vps_plans (name, provider_plan_id, base_price, markup_price)"
            " values ('World', $1, $2, $3) returning id",
            str(uuid4()),
            base,
            markup,
        )
        self.plans[number] = identifier
        self.model.plans[str(identifier)].priced(await self.now(), base, markup)

    async def reprice(self, number: int, base: Decimal | None, markup: Decimal | None) -> None:
        updated = await self.connection.execute(
            "update vps_plans set base_price = $2, markup_price = $3 where id = $1",
            self.plans[number],
            base,
            markup,
        )
        if updated == "UPDATE 1":
            self.model.plans[str(self.plans[number])].priced(await self.now(), base, markup)

    async def delete_plan(self, number: int) -> None:
        deleted = await self.connection.execute("delete from vps_plans where id = $1", self.plans[number])
        if deleted == "DELETE 1":
            self.model.plans[str(self.plans[number])].gone(await self.now())

    def reference(self, plan: int) -> str:
        """What an instance carries; a number that is no plan's is an unknown plan."""
        return str(self.plans.get(plan, f"unknown-{plan}"))

    async def add_instance(self, number: int, organization: int, plan: int, age: timedelta) -> None:
        identifier = UUID(int=self.base + number)
        created_at = await self.now() - age
        await self.connection.execute(
            "insert into vps_instances (id, organization_id, plan_id, provider_instance_id, label, created_at)"
            " values ($1, $2, $3, '1', 'world', $4)",
            identifier,
            self.organizations[organization],
            self.reference(plan),
            created_at,
        )
        self.instances[number] = identifier
        self.model.instances[identifier] = Instance(
            id=identifier,
            organization=self.organizations[organization],
            created_at=created_at,
            billed_until=created_at,
            plans=[(created_at, self.reference(plan))],
        )

    async def resize(self, number: int, plan: int) -> None:
        identifier = self.instances[number]
        if self.model.instances[identifier].deleted_at is None:
            await self.connection.execute(
                "update vps_instances set plan_id = $2 where id = $1", identifier, self.reference(plan)
            )
            self.model.instances[identifier].plans.append((await self.now(), self.reference(plan)))

    async def delete(self, number: int) -> None:
        identifier = self.instances[number]
        if self.model.instances[identifier].deleted_at is None:
            await self.connection.execute("delete from vps_instances where id = $1", identifier)
            self.model.instances[identifier].deleted_at = await self.now()

    async def run(self) -> None:
        now = await self.now()
        charged = await charge_organizations(
            self.connection, list(self.organizations.values()), now=now, run_id=self.run_id
        )
        before = len(self.model.charged)
        self.model.run(now)
        assert charged.hours_billed == len(self.model.charged) - before

    # What the database says --------------------------------------------------------------------

    async def charged(self) -> list[Hour]:
        """Every cycle that was billed, taken apart into its hours."""
        rows = await self.connection.fetch(
            "select c.*, t.amount from vps_billing_cycles c"
            " join payment_transactions t on t.id = c.payment_transaction_id"
            " where c.organization_id = any ($1) and c.status = 'billed'",
            list(self.organizations.values()),
        )
        hours = []
        for row in rows:
            start, total = row["billing_period_start"], Decimal(0)
            while start < row["billing_period_end"]:
                hours.append(Hour(UUID(int=row["vps_instance_id"].int), start, row["hourly_rate"]))
                start += HOUR
                total += row["hourly_rate"]
            assert start == row["billing_period_end"]
            assert row["total_amount"] == total == -row["amount"]
        return hours

    async def balances(self) -> dict[UUID, Decimal]:
        rows = await self.connection.fetch(
            "select distinct on (organization_id) organization_id, balance from wallets"
            " where organization_id = any ($1) order by organization_id, created_at",
            list(self.organizations.values()),
        )
        return {row["organization_id"]: row["balance"] for row in rows}

    async def billed_until(self) -> dict[UUID, datetime]:
        rows = await self.connection.fetch(
            "select id, coalesce(last_billed_at, created_at) as billed_until from vps_instances"
            " where organization_id = any ($1) union all"
            " select id, coalesce(last_billed_at, created_at) from deleted_vps_instances"
            " where organization_id = any ($1)",
            list(self.organizations.values()),
        )
        return {UUID(int=row["id"].int): row["billed_until"] for row in rows}

    async def in_debt(self) -> set[UUID]:
        rows = await self.connection.fetch(
            "select vps_instance_id from vps_debts where organization_id = any ($1) and settled_at is null",
            list(self.organizations.values()),
        )
        return {UUID(int=row["vps_instance_id"].int) for row in rows}

    async def assert_as_modelled(self) -> None:
        key = lambda hour: (hour.instance.int, hour.start)  # noqa: E731
        assert sorted(await self.charged(), key=key) == sorted(self.model.charged, key=key)
        assert await self.balances() == self.model.wallets
        assert await self.billed_until() == {i.id: i.billed_until for i in self.model.instances.values()}
        assert await self.in_debt() == self.model.in_debt
