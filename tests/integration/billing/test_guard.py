"""Beside any version of the application: its hourly charges wait for ours."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from urllib.parse import quote

import asyncpg
import pytest

from support import fleet
from support.billing import Billing
from support.clock import SETTING
from support.fleet import Plan
from support.guard import assert_sound, beat, fall_silent, interventions, refusals
from support.original_application import session_of_its_role
from support.original_biller import OriginalBiller, Version, once

VERSIONS = list(Version)


# Refuse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_no_version_charges_while_a_biller_of_ours_is_alive(billing: Billing, version: Version) -> None:
    instance = await billing.add_instance(hours_due=3)
    await beat(billing.connection)
    application = OriginalBiller(billing.dsn, version)
    assert [charge.debited for charge in await application.run()] == [False]
    assert application.refusals == ["hourly charge refused: ContainerStacks bills this database"]
    assert await refusals(billing.connection) == 1
    assert await billing.balance() == 100
    # The failed cycle that follows is nobody's: no customer is chased for it.
    assert await billing.cycles(instance, status="failed") == []
    await billing.run()
    await assert_sound(billing, hours={instance: 3})


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_charges_what_is_due_when_no_biller_of_ours_is_alive(
    billing: Billing, odd_plan: Plan, version: Version
) -> None:
    instance = await billing.add_instance(plan=odd_plan, hours_due=3)
    await beat(billing.connection, age=11)
    application = OriginalBiller(billing.dsn, version)
    assert [charge.debited for charge in await application.run()] == [True]
    (cycle,) = await billing.cycles(instance)
    assert await refusals(billing.connection) == 0
    assert await billing.balance() == 100 - cycle["total_amount"]
    await assert_sound(billing)
    # And ours goes on where it stopped.
    await billing.pass_hours(2)
    await billing.run()
    await assert_sound(billing)


async def test_a_clean_stop_lets_the_application_bill_at_its_next_tick(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=1)
    await beat(billing.connection)
    application = OriginalBiller(billing.dsn)
    await application.run()
    await billing.run()
    await fall_silent(billing.connection)
    assert await application.run() == []
    await billing.pass_hours(1)
    assert [charge.debited for charge in await application.run()] == [True]
    await assert_sound(billing, hours={instance: 2})


async def test_hours_that_we_billed_since_it_read_are_refused_though_we_are_dead_by_now(
    billing: Billing,
) -> None:
    instance = await billing.add_instance(hours_due=2)
    application = OriginalBiller(billing.dsn)
    (charge,) = await application.read_due()
    await billing.run()
    await application.bill(charge)
    assert "2 hours of vps-" in application.refusals[0]
    assert await billing.cycles(instance, status="failed") == []
    await assert_sound(billing, hours={instance: 2})


@pytest.mark.parametrize("change", ["renamed", "deleted", "recreated"])
async def test_an_instance_that_changed_since_the_application_read_it_is_paid_once(
    billing: Billing, change: str
) -> None:
    connection = billing.connection
    instance = await billing.add_instance(hours_due=2, label="shop")
    application = OriginalBiller(billing.dsn)
    (charge,) = await application.read_due()
    if change == "renamed":
        await connection.execute("update vps_instances set label = 'store' where id = $1", instance)
    else:
        await connection.execute("delete from vps_instances where id = $1", instance)
    if change == "recreated":
        await billing.add_instance(label="shop")
    await application.bill(charge)
    await billing.run()
    await assert_sound(billing, hours={instance: 2})


@pytest.mark.parametrize(
    ("status", "metadata"), [("failed", "{}"), ("completed", '{"wallet_type": "hosting"}')]
)
async def test_a_charge_that_takes_nothing_from_a_wallet_gives_nothing_back(
    billing: Billing, status: str, metadata: str
) -> None:
    await billing.add_instance(hours_due=1, label="shop")
    await billing.connection.execute(
        "insert into payment_transactions (organization_id, amount, payment_method, payment_provider, status,"
        " description, metadata)"
        " values ($1, -0.01, 'wallet_debit', 'internal', $2, 'VPS Hourly Billing - shop (1h)', $3::text::jsonb)",
        billing.organization.id,
        status,
        metadata,
    )
    assert await billing.connection.fetchval("select count(*) from application_debits") == 0


async def test_the_guard_can_be_turned_off(billing: Billing) -> None:
    await billing.add_instance(hours_due=1)
    await beat(billing.connection)
    name = await billing.connection.fetchval("select quote_ident(current_database())")
    await billing.connection.execute(f"alter database {name} set containerstacks.guard = 'off'")
    assert [charge.debited for charge in await OriginalBiller(billing.dsn).run()] == [True]
    assert await refusals(billing.connection) == 0


def off_for_itself(dsn: str) -> str:
    return f"{dsn}{'&' if '?' in dsn else '?'}options={quote('-c containerstacks.guard=off')}"


async def test_a_session_that_turns_the_guard_off_for_itself_is_named_with_every_wallet_that_it_moves(
    billing: Billing,
) -> None:
    instance = await billing.add_instance(hours_due=2)
    await beat(billing.connection)
    (charge,) = await OriginalBiller(off_for_itself(billing.dsn)).run()
    assert charge.debited
    summary = await billing.run()
    # Its hours are paid, and not to be paid again.
    assert summary.charged.hours_billed == 0
    assert await billing.balance() == 100 - Decimal("0.02")
    assert await billing.hours_billed(instance) == 2
    (finding,) = await billing.verify()
    assert (finding.check, "-0.02" in finding.detail) == ("unexplained_entries", True)


async def test_hours_that_a_session_without_the_guard_charges_after_us_are_named(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)
    application = OriginalBiller(off_for_itself(billing.dsn))
    (charge,) = await application.read_due()
    await billing.run()
    await application.bill(charge)
    assert charge.debited
    named = {(finding.check, finding.key) for finding in await billing.verify()}
    ours = next(cycle for cycle in await billing.cycles(instance) if cycle["billing_run_id"])
    assert ("charged_by_another_too", str(ours["id"])) in named
    assert "unexplained_entries" in {check for check, _ in named}


@pytest.mark.parametrize(("skew", "debited"), [(3, False), (-1, True), (-3, False)])
async def test_a_clock_that_is_wrong_charges_no_hour_that_is_not_over(
    billing: Billing, skew: int, debited: bool
) -> None:
    instance = await billing.add_instance(hours_due=2)
    application = OriginalBiller(billing.dsn, skew=timedelta(hours=skew))
    assert any(charge.debited for charge in await application.run()) is debited
    await billing.run()
    await assert_sound(billing, hours={instance: 2})


@pytest.mark.parametrize("offset", ["5 hours", "-5 hours"])
async def test_a_session_cannot_shift_the_clock_of_the_guard(billing: Billing, offset: str) -> None:
    instance = await billing.add_instance(hours_due=2)
    (due,) = await OriginalBiller(billing.dsn).read_due()
    of_its_own = OriginalBiller(f"{billing.dsn}?{SETTING}={quote(offset)}")
    early = replace(due, hours=5, end=due.start + timedelta(hours=5))
    assert not await of_its_own.debit(early)
    await beat(billing.connection)
    assert not await of_its_own.debit(replace(due))
    assert len(of_its_own.refusals) == 2
    await fall_silent(billing.connection)
    assert await of_its_own.debit(due)
    await of_its_own.record(due)
    assert await billing.connection.fetchval("select intervened_at from guard_interventions") is None
    await assert_sound(billing, hours={instance: 2})


@pytest.mark.parametrize("offset", ["40 days", "-40 days"])
async def test_a_session_cannot_date_what_it_does_to_a_wallet(billing: Billing, offset: str) -> None:
    await OriginalBiller(f"{billing.dsn}?{SETTING}={quote(offset)}").top_up(billing.organization.id, 10.0)
    entry = (await billing.entries(billing.organization.wallet_id))[-1]
    assert (entry["kind"], entry["amount"]) == ("application", 10)
    assert await billing.connection.fetchval(
        "select abs(extract(epoch from clock_now() - $1)) < 3600", entry["recorded_at"]
    )
    await assert_sound(billing)


async def test_an_hour_charged_too_early_is_given_back(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)
    await OriginalBiller(billing.dsn, skew=timedelta(hours=1)).run()
    assert await interventions(billing.connection, "given_back") == [Decimal("0.03")]
    assert await billing.balance() == 100
    await billing.run()
    await assert_sound(billing, hours={instance: 2})


async def test_the_applications_failed_cycle_stays_on_record_while_no_biller_of_ours_is_alive(
    billing: Billing,
) -> None:
    poor = await fleet.add_organization(billing.connection, balance="0")
    instance = await billing.add_instance(poor, hours_due=1)
    await OriginalBiller(billing.dsn).run()
    assert len(await billing.cycles(instance, status="failed")) == 1
    await beat(billing.connection)
    await OriginalBiller(billing.dsn).run()
    assert len(await billing.cycles(instance, status="failed")) == 1
    assert await refusals(billing.connection) == 1


# Give back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_charge_in_flight_when_our_biller_bills_is_given_back(
    billing: Billing, odd_plan: Plan, version: Version
) -> None:
    instance = await billing.add_instance(plan=odd_plan, hours_due=3)
    application = OriginalBiller(billing.dsn, version, step=once(billing.run, "between debit and cycle"))
    await application.run()
    (given,) = await interventions(billing.connection, "given_back")
    (refunded,) = await billing.cycles(instance, status="refunded")
    (ours,) = await billing.cycles(instance)
    assert (ours["billing_run_id"], refunded["billing_run_id"]) == (1, None)
    assert given == refunded["total_amount"] or version is Version.EARLY
    assert await billing.balance() == 100 - ours["total_amount"]
    mark = await billing.connection.fetchval("select last_billed_at from vps_instances")
    assert mark == ours["billing_period_end"]
    await billing.pass_hours(2)
    await billing.run()
    await assert_sound(billing)


async def test_a_charge_in_flight_is_given_back_where_our_biller_could_bill_only_a_part(
    billing: Billing,
) -> None:
    poor = await fleet.add_organization(billing.connection, balance="0.04")
    instance = await billing.add_instance(poor, hours_due=3)
    application = OriginalBiller(billing.dsn, step=once(billing.run, "between debit and cycle"))
    await application.run()
    # One hour was ours; the debit of three came back, and pays for the other two.
    await billing.run()
    assert await billing.balance(poor.wallet_id) == Decimal("0.01")
    await assert_sound(billing, hours={instance: 3})


async def test_instances_with_equal_labels_are_distinguished_by_their_cycles(billing: Billing) -> None:
    twins = [await billing.add_instance(hours_due=hours, label="web") for hours in (1, 1)]
    application = OriginalBiller(billing.dsn)
    first, second = await application.read_due()
    await application.bill(first)
    await application.debit(second)
    await billing.run()
    await application.record(second)
    await assert_sound(billing, hours=dict.fromkeys(twins, 1))


async def test_an_instance_deleted_between_debit_and_cycle_is_paid_once(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=2)

    async def delete() -> None:
        await billing.connection.execute("delete from vps_instances where id = $1", instance)

    await OriginalBiller(billing.dsn, step=once(delete, "between debit and cycle")).run()
    await billing.run()
    await assert_sound(billing, hours={instance: 2})


async def test_a_debit_without_its_cycle_is_given_back_by_the_second_run_after_it(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=1)
    application = OriginalBiller(billing.dsn)
    (charge,) = await application.read_due()
    assert await application.debit(charge)
    await billing.run()
    assert await interventions(billing.connection, "given_back") == []
    await billing.connection.execute(
        "update application_debits set debited_at = debited_at - interval '16 minutes'"
    )
    await billing.run()
    assert await interventions(billing.connection, "given_back") == [Decimal("0.01")]
    # It wakes up after all, and is told that this was not paid.
    with pytest.raises(asyncpg.PostgresError, match="its debit was given back"):
        await application.record(charge)
    await assert_sound(billing, hours={instance: 1})


# Keep the mark ----------------------------------------------------------------------------------


async def test_a_mark_cut_to_milliseconds_does_not_replace_ours(billing: Billing) -> None:
    instance = await billing.add_instance(hours_due=1)
    await billing.run()
    mark = await billing.connection.fetchval("select last_billed_at from vps_instances")
    for earlier in (
        "date_trunc('milliseconds', last_billed_at)",
        "last_billed_at - interval '1 hour'",
        "null",
    ):
        await billing.connection.execute(f"update vps_instances set last_billed_at = {earlier}")
        assert await billing.connection.fetchval("select last_billed_at from vps_instances") == mark
    await assert_sound(billing, hours={instance: 1})


async def test_a_mark_that_our_billers_did_not_make_may_be_moved_back(billing: Billing) -> None:
    moment = await billing.connection.fetchval("select now()")
    await billing.add_instance(last_billed_at=moment)
    await billing.connection.execute(
        "update vps_instances set last_billed_at = last_billed_at - interval '1 hour'"
    )
    assert (
        await billing.connection.fetchval("select last_billed_at from vps_instances")
    ) == moment - timedelta(hours=1)


async def test_the_applications_own_role_needs_no_further_privilege(billing: Billing) -> None:
    await billing.add_instance(hours_due=1)
    async with session_of_its_role(billing.dsn) as session:
        role = await session.fetchval("select session_user")
        host = billing.dsn.partition("@")[2]
        application = OriginalBiller(f"postgresql://{role}:panel@{host}")
        await application.top_up(billing.organization.id, 10.0)
        (charge,) = await application.read_due()
        await application.debit(charge)
        await billing.run()
        await application.record(charge)
        await beat(billing.connection)
        assert not await application.debit(charge)
    assert await refusals(billing.connection) == 1
    await assert_sound(billing)
