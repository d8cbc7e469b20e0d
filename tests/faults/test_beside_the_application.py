"""Ours and the application's biller race for the same hours, in every order that chance finds: none is paid twice."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg
import pytest

from containerstacks_shared.core.errors import BillingBusy
from support import fleet
from support.billing import Billing
from support.fleet import Organization
from support.guard import assert_sound, beat, fall_silent, interventions, refusals
from support.original_biller import Charge, OriginalBiller, Version

ROUNDS = 6
SEEDS = 3
ORGANIZATIONS = 4
# Of all steps of the application.
DELAYED = 0.2
DELAY_MAX_SECONDS = 0.15


@dataclass
class Race:
    """One seeded race: copies of the application, our biller coming and going, customers, and a fleet that changes."""

    billing: Billing
    version: Version
    random: random.Random
    organizations: list[Organization] = field(default_factory=list)

    @property
    def connection(self) -> asyncpg.Connection:
        return self.billing.connection

    async def found(self) -> None:
        for _ in range(ORGANIZATIONS):
            organization = await fleet.add_organization(
                self.connection, balance=self.random.choice(["100", "0.05"])
            )
            self.organizations.append(organization)
            for number in range(4):
                price = self.random.choice(["3", "4", "7.30", "20.01"])
                plan = await fleet.add_plan(self.connection, base_price=price, markup_price="0")
                # Labels are no keys: some instances share one.
                label = self.random.choice(["web", f"web-{number}"])
                hours = self.random.choice([0.5, 1.5, 3.5])
                await fleet.add_instance(self.connection, organization, plan, label=label, hours_due=hours)

    async def step(self, _name: str) -> None:
        if self.random.random() < DELAYED:
            await asyncio.sleep(self.random.uniform(0, DELAY_MAX_SECONDS))

    async def application(self) -> None:
        # Some copies run on a machine whose clock is ahead, or behind.
        skew = timedelta(minutes=self.random.choice([0, 0, 0, -50, 50, 130]))
        application = OriginalBiller(self.billing.dsn, self.version, skew=skew, step=self.step)
        for charge in await application.read_due():
            await self._bill(application, charge)

    async def _bill(self, application: OriginalBiller, charge: Charge) -> None:
        if not await application.debit(charge):
            return
        await self.step("between debit and cycle")
        # Some processes are killed in between.
        if self.random.random() < 0.1:
            return
        await application.record(charge)

    async def ours(self) -> None:
        """Alive, dead without a word, or stopped cleanly; and it bills meanwhile."""
        await self.step("before ours")
        await beat(self.connection, age=self.random.choice([0, 0, 60]))
        try:
            await self.billing.run(lock_timeout=0.1)
        except BillingBusy:
            return
        finally:
            if self.random.random() < 0.5:
                await fall_silent(self.connection)

    async def customers(self) -> None:
        application = OriginalBiller(self.billing.dsn, self.version, step=self.step)
        for _ in range(4):
            organization = self.random.choice(self.organizations)
            await application.top_up(organization.id, self.random.choice([0.01, 5.0, 12.34]))

    async def fleet_changes(self) -> None:
        async with self.billing.pool.acquire() as session:
            await self.step("before a change")
            instance = await session.fetchrow(
                "select id, organization_id, label from vps_instances order by random() limit 1"
            )
            if instance is None:
                return
            match self.random.choice(["renamed", "deleted", "recreated"]):
                case "renamed":
                    await session.execute(
                        "update vps_instances set label = 'renamed' where id = $1", instance["id"]
                    )
                case "deleted":
                    await session.execute("delete from vps_instances where id = $1", instance["id"])
                case "recreated":
                    # Another one by the same label.
                    await session.execute("delete from vps_instances where id = $1", instance["id"])
                    await session.execute(
                        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at)"
                        " values ($1, 'unknown', '1', $2, clock_now() - interval '90 minutes')",
                        instance["organization_id"],
                        instance["label"],
                    )

    async def round(self) -> None:
        actors: list[Callable[[], Awaitable[None]]] = [
            self.application,
            self.application,
            self.ours,
            self.customers,
            self.fleet_changes,
        ]
        self.random.shuffle(actors)
        async with asyncio.TaskGroup() as group:
            for actor in actors:
                group.create_task(self._run(actor))

    @staticmethod
    async def _run(actor: Callable[[], Awaitable[None]]) -> None:
        await actor()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(SEEDS))
@pytest.mark.parametrize("version", list(Version))
async def test_no_hour_is_paid_twice_and_no_cent_is_lost(
    billing: Billing, version: Version, number: int, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("FAULTS_SEED", "11")) + number
    connection = billing.connection
    race = Race(billing, version, random.Random(f"{seed} {version}"))
    await race.found()
    for _ in range(ROUNDS):
        await race.round()
        # What a killed process left is given back by a run that comes long after.
        await connection.execute(
            "update application_debits set debited_at = debited_at - interval '16 minutes'"
        )
        await race.billing.run()
        await assert_sound(race.billing)
        await race.billing.pass_hours(1)
    given = await interventions(connection, "given_back")
    record_property(
        "survived",
        f"seed {seed}, {version}: {await refusals(connection)} refused, {len(given)} given back,"
        f" {len(await interventions(connection, 'mended'))} mended",
    )
