"""The application bills while our daemon is frozen or partitioned, and it comes back in the middle of a charge."""

import signal
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest

from support import fleet
from support.billing import Billing
from support.dark_proxy import DarkProxy
from support.fleet import Organization, Plan
from support.guard import assert_sound, interventions, refusals
from support.original_biller import OriginalBiller
from support.processes import Processes, Service
from support.waiting import eventually


@dataclass
class Customer:
    billing: Billing
    organization: Organization
    plan: Plan

    async def instance_due(self) -> UUID:
        return await fleet.add_instance(self.billing.connection, self.organization, self.plan, hours_due=1)

    async def is_refused(self) -> UUID:
        """Check that the application cannot charge an instance that is due, and return that."""
        instance = await self.instance_due()
        before = await refusals(self.billing.connection)
        assert not any(charge.debited for charge in await OriginalBiller(self.billing.dsn).run())
        assert await refusals(self.billing.connection) > before
        return instance


@pytest.fixture
async def customer(billing: Billing, connection: asyncpg.Connection) -> Customer:
    organization = await fleet.add_organization(connection, balance="100")
    return Customer(billing, organization, await fleet.add_plan(connection))


async def billed_by_ours(billing: Billing, instance: UUID) -> bool:
    return any(cycle["billing_run_id"] is not None for cycle in await billing.cycles(instance))


async def leads(billing: Billing, biller: str) -> bool:
    return bool(
        await billing.connection.fetchval(
            "select count(*) from billing_daemon_status where metadata ->> 'biller' = $1"
            " and heartbeat_at > clock_timestamp() - interval '5 seconds'",
            biller,
        )
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("absence", ["frozen", "partitioned"])
async def test_a_daemon_that_returns_during_a_charge_bills_its_hours_once(
    customer: Customer, processes: Processes, proxy: DarkProxy, absence: str
) -> None:
    billing = customer.billing
    first = await customer.instance_due()
    daemon = await processes.start_billing_daemon(proxy.dsn)
    await eventually(lambda: billed_by_ours(billing, first))
    instance = await customer.is_refused()
    go_away(daemon, proxy, absence)

    async def come_back(step: str) -> None:
        if step == "between debit and cycle":
            come_again(daemon, proxy, absence)
            await eventually(lambda: billed_by_ours(billing, instance))

    application = OriginalBiller(billing.dsn, step=come_back)

    async def charges() -> bool:
        return any(charge.debited for charge in await application.run())

    # Once the last heartbeat is old.
    await eventually(charges)
    assert len(await interventions(billing.connection, "given_back")) == 1
    assert len(await billing.cycles(instance, status="refunded")) == 1
    await customer.is_refused()
    await assert_sound(billing, hours={first: 1, instance: 1})
    await daemon.terminate()


def go_away(daemon: Service, proxy: DarkProxy, absence: str) -> None:
    if absence == "frozen":
        daemon.signal(signal.SIGSTOP)
    else:
        proxy.go_dark()


def come_again(daemon: Service, proxy: DarkProxy, absence: str) -> None:
    if absence == "frozen":
        daemon.signal(signal.SIGCONT)
    else:
        proxy.go_light()


@pytest.mark.timeout(180)
async def test_the_application_is_refused_while_the_built_in_biller_replaces_a_frozen_daemon(
    customer: Customer, processes: Processes
) -> None:
    billing = customer.billing
    first = await customer.instance_due()
    daemon = await processes.start_billing_daemon(billing.dsn)
    await processes.start_web(billing.dsn)
    await eventually(lambda: billed_by_ours(billing, first))
    daemon.signal(signal.SIGSTOP)
    await eventually(lambda: leads(billing, "builtin"))
    second = await customer.instance_due()
    application = OriginalBiller(billing.dsn)
    assert not any(charge.debited for charge in await application.run())
    daemon.signal(signal.SIGCONT)
    await eventually(lambda: leads(billing, "daemon"))
    assert not any(charge.debited for charge in await application.run())
    await eventually(lambda: billed_by_ours(billing, second))
    await assert_sound(billing, hours={first: 1, second: 1})
