"""The fleet of a campaign, and the billing model that is its oracle: it predicts each amount exactly.

Every hour of every instance ends between twelve and fifty-eight minutes past the campaign's full hour, and the
clock moves only to full hours. So no hour falls due during a round, however long the round takes on a busy
machine, and the model bills at the same moment as the database.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import UUID

import asyncpg

from support.billing_model import HOUR, BillingModel, Hour, Instance

RICH = 32
POOR = 8
INSTANCES_PER_ORGANIZATION = 35

# At most eightfold: a price ten times the previous one would be held for an operator.
_PRICES = range(500, 4000)
_UNKNOWN_PLAN = "unknown-plan"
_SHOWN_MAX = 5

_ADD_ORGANIZATIONS = """
with owner as (
    insert into users (email, password_hash, name) values ('owner@example.com', 'x', 'Owner') returning id
)
insert into organizations (id, name, slug, owner_id)
select added.id, 'Organization ' || added.id, added.id::text, owner.id
  from unnest($1::uuid[]) as added (id)
 cross join owner
"""
_ADD_WALLETS = """
insert into wallets (organization_id, balance, currency, created_at)
select * from unnest($1::uuid[], $2::numeric[], $3::text[], $4::timestamptz[])
"""
_ADD_PLAN = """
insert into vps_plans (id, name, provider_plan_id, base_price, markup_price)
values ($1, $2, $2, $3, 0)
"""
_ADD_INSTANCES = """
insert into vps_instances (id, organization_id, plan_id, created_at, provider_instance_id, label, configuration)
select added.id, added.organization_id, added.plan_id, added.created_at, '1', 'vps', '{"region": "us-east"}'
  from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) as added (id, organization_id, plan_id, created_at)
    on conflict (id) do nothing
"""

# The state of the database ---------------------------------------------------------------------

_CYCLES = """
select vps_instance_id, billing_period_start, billing_period_end, hourly_rate, total_amount
  from vps_billing_cycles
 where status = 'billed'
   and created_at >= $1
"""
_PAID = """
select vps_instance_id as id, sum(billing_period_end - billing_period_start) as time, sum(total_amount) as amount
  from vps_billing_cycles
 where status = 'billed'
 group by vps_instance_id
"""
_BALANCES = """
select distinct on (organization_id) organization_id as id, balance
  from wallets
 where currency = 'USD'
 order by organization_id, created_at, id
"""
_BILLED_UNTIL = """
select id, coalesce(last_billed_at, created_at) as moment from vps_instances
 union all
select id, coalesce(last_billed_at, created_at) from deleted_vps_instances
"""
_IN_DEBT = "select vps_instance_id as id from vps_debts where settled_at is null and written_off_at is null"


@dataclass
class Plan:
    id: UUID
    name: str

    @property
    def references(self) -> tuple[str, str]:
        """Return both ways in which the original's instances name a plan."""
        return str(self.id), self.name


@dataclass
class Paid:
    hours: int = 0
    amount: Decimal = Decimal(0)


@dataclass
class Customers:
    """The expected fleet. `random` decides everything except the order of concurrent events."""

    random: Random
    begun_at: datetime
    model: BillingModel = field(default_factory=BillingModel)
    rich: list[UUID] = field(default_factory=list)
    poor: list[UUID] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    paid: dict[UUID, Paid] = field(default_factory=dict)

    @property
    def organizations(self) -> list[UUID]:
        return self.rich + self.poor

    @property
    def references(self) -> list[str]:
        return [_UNKNOWN_PLAN, *(reference for plan in self.plans for reference in plan.references)]

    def new_id(self) -> UUID:
        return UUID(int=self.random.getrandbits(128))

    def price(self) -> Decimal | None:
        """Draw a price in dollars a month, sometimes none."""
        if self.random.random() < 0.1:
            return None
        return Decimal(self.random.choice(_PRICES)) / 100

    def existing(self, organization: UUID | None = None) -> list[Instance]:
        return [
            instance
            for instance in self.model.instances.values()
            if instance.deleted_at is None and organization in (None, instance.organization)
        ]

    def draw(self, *, organization: UUID, hours_ago: int, since: datetime) -> Instance:
        """Draw an instance. It enters the model after its insertion into the database."""
        phase = timedelta(microseconds=self.random.randrange(12 * 60_000_000, 58 * 60_000_000))
        created_at = since - hours_ago * HOUR + phase
        reference = self.random.choice(self.references)
        return Instance(
            id=self.new_id(),
            organization=organization,
            created_at=created_at,
            billed_until=created_at,
            plans=[(created_at, reference)],
        )

    # The beginning ----------------------------------------------------------------------------

    async def create(self, connection: asyncpg.Connection) -> None:
        """Register organizations, wallets, plans and instances."""
        organizations = [self.new_id() for _ in range(RICH + POOR)]
        self.rich, self.poor = organizations[:RICH], organizations[RICH:]
        await connection.execute(_ADD_ORGANIZATIONS, organizations)
        await self._add_wallets(connection)
        for number in range(6):
            plan = Plan(self.new_id(), f"g6-plan-{number}")
            price = self.price()
            async with connection.transaction():
                await connection.execute(_ADD_PLAN, plan.id, plan.name, price)
                self.priced(plan, await connection.fetchval("select clock_now()"), price)
            self.plans.append(plan)
        instances = [
            self.draw(organization=organization, hours_ago=self.random.randint(1, 5), since=self.begun_at)
            for organization in organizations
            for _ in range(INSTANCES_PER_ORGANIZATION)
        ]
        # Some are created together, as by an installation script: then the id decides which one is paid first.
        for earlier, later in zip(instances[::9], instances[1::9], strict=False):
            later.created_at = later.billed_until = earlier.created_at
        await self.add_instances(connection, instances)

    async def _add_wallets(self, connection: asyncpg.Connection) -> None:
        wallets = [(organization, Decimal(100_000), "USD", 2) for organization in self.rich]
        # Some also have a younger wallet, or an older one in another currency: neither pays.
        wallets += [(organization, Decimal(5), "USD", 1) for organization in self.rich[:4]]
        wallets += [(organization, Decimal(5), "EUR", 3) for organization in self.rich[2:6]]
        # The last poor organization has no wallet until a top-up.
        wallets += [
            (organization, Decimal(self.random.randrange(500)) / 100, "USD", 2)
            for organization in self.poor[:-1]
        ]
        await connection.execute(
            _ADD_WALLETS,
            [organization for organization, *_ in wallets],
            [balance for _, balance, *_ in wallets],
            [currency for *_, currency, _ in wallets],
            [self.begun_at - timedelta(days=days) for *_, days in wallets],
        )
        self.model.wallets = {
            organization: balance for organization, balance, _, days in wallets if days == 2
        }

    async def add_instances(self, connection: asyncpg.Connection, instances: list[Instance]) -> None:
        await connection.execute(
            _ADD_INSTANCES,
            [instance.id for instance in instances],
            [instance.organization for instance in instances],
            [instance.plans[0][1] for instance in instances],
            [instance.created_at for instance in instances],
        )
        self.model.instances |= {instance.id: instance for instance in instances}

    def priced(self, plan: Plan, at: datetime, price: Decimal | None) -> None:
        for reference in plan.references:
            self.model.plans[reference].priced(at, price, Decimal(0))

    # The audit --------------------------------------------------------------------------------

    async def differences(self, connection: asyncpg.Connection, *, since: datetime) -> list[str]:
        """Let the model bill at the database's time, and return the differences between database and model.

        `since` is the end of the previous audit's hours: earlier charges are compared by their sums.
        """
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            self.model.charged.clear()
            self.model.run(await connection.fetchval("select clock_now()"))
            for hour in self.model.charged:
                paid = self.paid.setdefault(hour.instance, Paid())
                paid.hours += 1
                paid.amount += hour.rate
            return [
                *_unlike("hours charged", await _charged(connection, since), self.model.charged),
                *_unlike("paid in all", await _paid(connection), self._paid()),
                *_unlike("balances", await _pairs(connection, _BALANCES), self.model.wallets.items()),
                *_unlike("billed until", await _pairs(connection, _BILLED_UNTIL), self._billed_until()),
                *_unlike("in debt", await _ids(connection, _IN_DEBT), self.model.in_debt),
            ]

    def _paid(self) -> list[tuple[UUID, int, Decimal]]:
        return [(identifier, paid.hours, paid.amount) for identifier, paid in self.paid.items()]

    def _billed_until(self) -> list[tuple[UUID, datetime]]:
        return [(instance.id, instance.billed_until) for instance in self.model.instances.values()]


async def _charged(connection: asyncpg.Connection, since: datetime) -> list[Hour]:
    hours = []
    for row in await connection.fetch(_CYCLES, since):
        start, total = row["billing_period_start"], Decimal(0)
        while start < row["billing_period_end"]:
            hours.append(Hour(_uuid(row["vps_instance_id"]), start, row["hourly_rate"]))
            start += HOUR
            total += row["hourly_rate"]
        assert (start, total) == (row["billing_period_end"], row["total_amount"]), row
    return hours


async def _paid(connection: asyncpg.Connection) -> list[tuple[UUID, int, Decimal]]:
    return [(_uuid(row["id"]), row["time"] // HOUR, row["amount"]) for row in await connection.fetch(_PAID)]


async def _pairs(connection: asyncpg.Connection, query: str) -> list[tuple[UUID, Hashable]]:
    return [(_uuid(identifier), value) for identifier, value in await connection.fetch(query)]


async def _ids(connection: asyncpg.Connection, query: str) -> list[UUID]:
    return [_uuid(row["id"]) for row in await connection.fetch(query)]


def _uuid(value: UUID) -> UUID:
    # asyncpg's own UUID class compares as the standard one, but does not print like it.
    return UUID(int=value.int)


def _unlike(what: str, found: Iterable[Hashable], expected: Iterable[Hashable]) -> list[str]:
    """Return the first few values that only one side has."""
    there, wanted = Counter(found), Counter(expected)
    return [
        *[f"{what}: {item} is not what the model says" for item in list(there - wanted)[:_SHOWN_MAX]],
        *[f"{what}: the model says {item}" for item in list(wanted - there)[:_SHOWN_MAX]],
    ]
