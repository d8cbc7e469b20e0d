"""The operator's systems are told of a debt once, when it is older than the grace, and of its end once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from containerstacks_shared.billing import debt_hook, write_offs
from containerstacks_shared.billing.debt_hook import DebtHook
from containerstacks_shared.billing.documents import RunTrigger
from containerstacks_shared.core.settings import BillingSettings, load_settings
from containerstacks_shared.database.notify import Channel, Listener
from containerstacks_shared.outbox import delivery, messages
from containerstacks_shared.outbox.retrying import ATTEMPTS_MAX, pause_after
from containerstacks_shared.process.runtime import Job
from support import fleet
from support.billing import Billing
from support.fleet import Organization, Plan
from support.hook_receiver import RecordingCommand, webhook
from support.jobs import running
from support.waiting import eventually

GRACE_HOURS = 24


@pytest.fixture
async def poor(connection: asyncpg.Connection) -> Organization:
    return await fleet.add_organization(connection, balance="0.00")


@pytest.fixture
def command(tmp_path: Path) -> RecordingCommand:
    return RecordingCommand(tmp_path)


@contextlib.asynccontextmanager
async def hook(billing: Billing, *, settings: Mapping[str, object], halves: int = 1) -> AsyncIterator[None]:
    """Run as many processes' hooks as `halves`."""
    loaded = load_settings(
        BillingSettings, database_url=billing.dsn, debt_grace_hours=GRACE_HOURS, **settings
    )
    listener = Listener(billing.dsn, [Channel.BILLING_CHANGED], service="tests")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running(Job("listening", listener.run)))
        for number in range(halves):
            telling = DebtHook(billing.pool, loaded, listener.subscribe())
            await stack.enter_async_context(running(Job(f"telling {number}", telling.run)))
        yield


async def overdue(billing: Billing, organization: Organization, plan: Plan, *, instances: int = 1) -> None:
    """Let each of so many instances owe 2 hours, opened longer ago than the grace by now."""
    for _ in range(instances):
        await fleet.add_instance(billing.connection, organization, plan, hours_due=2)
    await billing.run()
    await billing.pass_time(timedelta(hours=GRACE_HOURS, minutes=1))


async def pay(billing: Billing, organization: Organization) -> None:
    await billing.credit(organization, "50")
    await billing.run(trigger=RunTrigger.TOP_UP)


def outcomes(connection: asyncpg.Connection, *expected: str | None) -> Callable[[], object]:
    async def recorded() -> bool:
        rows = await connection.fetch("select outcome from outbox_messages order by id")
        assert [row["outcome"] for row in rows] == list(expected)
        return True

    return recorded


async def test_a_debt_is_told_when_it_is_older_than_the_grace_and_when_it_is_settled(
    billing: Billing,
    connection: asyncpg.Connection,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
) -> None:
    instance = await fleet.add_instance(connection, poor, plan, hours_due=2)
    since = await connection.fetchval("select created_at from vps_instances")
    async with hook(billing, settings={"debt_hook_command": command.setting}):
        await billing.run()
        await billing.pass_hours(GRACE_HOURS - 1)
        await billing.run()
        assert command.told == []
        await billing.pass_hours(1)
        await billing.run()
        (told,) = await eventually(lambda: command.told)
        opened_at = await connection.fetchval("select opened_at from vps_debts")
        assert told == {
            "id": told["id"],
            "event": "debt_overdue",
            "organizationId": str(poor.id),
            "instanceId": str(instance),
            "since": since.isoformat().replace("+00:00", "Z"),
            "openedAt": opened_at.isoformat().replace("+00:00", "Z"),
            "hoursOwed": GRACE_HOURS + 2,
            "amountOwed": 0.26,
            "settledBy": None,
        }
        await billing.run()
        await pay(billing, poor)
        await eventually(outcomes(connection, "delivered", "delivered"))
    assert command.events == ["debt_overdue", "debt_settled"]
    assert command.told[1] == told | {
        "id": command.told[1]["id"],
        "event": "debt_settled",
        "hoursOwed": 0,
        "amountOwed": 0,
        "settledBy": "payment",
    }


async def test_several_processes_and_restarts_tell_each_debt_once(
    billing: Billing,
    connection: asyncpg.Connection,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
) -> None:
    await overdue(billing, poor, plan, instances=12)
    setting = {"debt_hook_command": command.setting}
    async with hook(billing, settings=setting, halves=3):
        await eventually(outcomes(connection, *["delivered"] * 12))
    await pay(billing, poor)
    async with hook(billing, settings=setting, halves=3):
        await eventually(outcomes(connection, *["delivered"] * 24))
    async with hook(billing, settings=setting):
        await billing.run()
    instances = [(notice["event"], notice["instanceId"]) for notice in command.told]
    assert len(instances) == len(set(instances)) == 24


async def test_a_webhook_is_told_too_with_a_key_to_know_a_repetition_by(
    billing: Billing,
    connection: asyncpg.Connection,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
) -> None:
    await overdue(billing, poor, plan)
    async with webhook() as receiver:
        settings = {"debt_hook_url": receiver.url, "debt_hook_command": command.setting}
        async with hook(billing, settings=settings):
            await eventually(outcomes(connection, "delivered", "delivered"))
        (told,) = receiver.told
        assert receiver.keys == [str(told["id"])]
        assert {**told, "id": None} == {**command.told[0], "id": None}


async def test_a_receiver_that_fails_is_tried_again_later(
    billing: Billing, connection: asyncpg.Connection, poor: Organization, plan: Plan
) -> None:
    await overdue(billing, poor, plan)
    async with webhook() as receiver:
        receiver.status = 500
        async with hook(billing, settings={"debt_hook_url": receiver.url}):
            for attempts in (1, 2, 3):
                await eventually(partial(failed_attempts, connection, attempts))
                await billing.pass_time(pause_after(attempts))
                await billing.run()
            receiver.status = 204
            await billing.pass_time(pause_after(4))
            await billing.run()
            await eventually(outcomes(connection, "delivered"))
        assert len({told["id"] for told in receiver.told}) == 1


async def failed_attempts(connection: asyncpg.Connection, attempts: int) -> bool:
    row = await connection.fetchrow("select attempts, last_error, claimed_until from outbox_messages")
    assert row is not None
    assert (row["attempts"], row["claimed_until"]) == (attempts, None)
    assert row["last_error"] == "the webhook answered 500"
    return True


async def test_a_receiver_that_never_answers_well_is_given_up_in_the_end(
    billing: Billing,
    connection: asyncpg.Connection,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
) -> None:
    command.refuse()
    await overdue(billing, poor, plan)
    async with hook(billing, settings={"debt_hook_command": command.setting}):
        await eventually(lambda: connection.fetchval("select last_error from outbox_messages"))
        await connection.execute(
            "update outbox_messages set attempts = $1, next_attempt_at = clock_now()", ATTEMPTS_MAX - 1
        )
        await billing.run()
        await eventually(outcomes(connection, "given_up"))
        assert (
            await connection.fetchval("select last_error from outbox_messages") == "exit code 1: out of order"
        )
        # That it is over is told all the same.
        command.refuse(refusing=False)
        await pay(billing, poor)
        await eventually(outcomes(connection, "given_up", "delivered"))


async def test_a_debt_that_is_settled_before_anybody_was_told_is_not_told_of(
    billing: Billing,
    connection: asyncpg.Connection,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
) -> None:
    await overdue(billing, poor, plan)
    await pay(billing, poor)
    async with hook(billing, settings={"debt_hook_command": command.setting}):
        await fleet.add_instance(
            connection, await fleet.add_organization(connection, balance="0"), plan, hours_due=1
        )
        await billing.run()
        await billing.pass_hours(GRACE_HOURS)
        await billing.run()
        await eventually(outcomes(connection, "delivered"))
    assert command.told[0]["organizationId"] != str(poor.id)


async def test_an_alarm_that_could_not_be_given_is_withdrawn_but_its_end_is_told(
    billing: Billing,
    connection: asyncpg.Connection,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
) -> None:
    command.refuse()
    await overdue(billing, poor, plan)
    async with hook(billing, settings={"debt_hook_command": command.setting}):
        await eventually(lambda: connection.fetchval("select last_error from outbox_messages"))
        command.refuse(refusing=False)
        await pay(billing, poor)
        await eventually(outcomes(connection, "withdrawn", "delivered"))
    assert command.events == ["debt_overdue", "debt_settled"]


async def test_a_debt_that_is_written_off_is_settled_without_payment(
    billing: Billing,
    connection: asyncpg.Connection,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
) -> None:
    await overdue(billing, poor, plan)
    async with hook(billing, settings={"debt_hook_command": command.setting}):
        await eventually(outcomes(connection, "delivered"))
        await write_offs.write_off_organization(connection, str(poor.id), reason="goodwill", author="tests")
        await billing.run()
        await eventually(outcomes(connection, "delivered", "delivered"))
    assert [notice["settledBy"] for notice in command.told] == [None, "write_off"]


async def test_a_receiver_that_hangs_keeps_no_run_waiting_and_is_ended(
    billing: Billing, poor: Organization, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debt_hook, "_CALL_SECONDS", 4.0)
    connection = billing.connection
    await overdue(billing, poor, plan)
    begun = tmp_path / "begun"
    async with hook(billing, settings={"debt_hook_command": f"sh -c 'touch {begun}; sleep 60 & wait'"}):
        await eventually(begun.exists)
        await pay(billing, poor)
        assert await connection.fetchval("select last_error from outbox_messages") is None, (
            "waited for the hook"
        )
        error = await eventually(lambda: connection.fetchval("select last_error from outbox_messages"))
    assert error == "took longer than 4 s"


async def test_no_transaction_is_open_while_a_receiver_is_called(
    billing: Billing, connection: asyncpg.Connection, poor: Organization, plan: Plan, tmp_path: Path
) -> None:
    await overdue(billing, poor, plan)
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    waits = f"sh -c 'touch {begun}; until [ -e {go_on} ]; do sleep 0.02; done'"
    async with hook(billing, settings={"debt_hook_command": waits}):
        await eventually(begun.exists)
        assert (
            await connection.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and xact_start is not null and pid <> pg_backend_pid()"
            )
            == 0
        )
        go_on.touch()
        await eventually(outcomes(connection, "delivered"))


async def test_a_stop_waits_for_the_call_in_hand_and_its_record(
    billing: Billing, connection: asyncpg.Connection, poor: Organization, plan: Plan, tmp_path: Path
) -> None:
    await overdue(billing, poor, plan)
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    waits = f"sh -c 'touch {begun}; until [ -e {go_on} ]; do sleep 0.02; done'"

    async def run_and_stop() -> None:
        async with hook(billing, settings={"debt_hook_command": waits}):
            await eventually(begun.exists)

    stopping = asyncio.create_task(run_and_stop())
    await eventually(begun.exists)
    go_on.touch()
    await stopping
    await outcomes(connection, "delivered")()  # type: ignore[misc]


async def test_a_call_whose_record_had_to_wait_for_the_database_is_not_made_again(
    billing: Billing,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its claim has run out by the time that the database is back.
    monkeypatch.setattr(debt_hook, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(delivery, "_CLAIM", timedelta(seconds=0.2))
    await overdue(billing, poor, plan)
    ended = messages.end
    failures = iter([OSError("away"), OSError("still away")])

    async def end(*arguments: Any, **options: Any) -> None:
        error = next(failures, None)
        if error is not None:
            raise error
        await ended(*arguments, **options)

    monkeypatch.setattr(messages, "end", end)
    async with hook(billing, settings={"debt_hook_command": command.setting}):
        await eventually(outcomes(billing.connection, "delivered"))
    assert command.events == ["debt_overdue"]


async def test_what_is_owed_is_counted_at_the_rates_of_its_hours(
    billing: Billing,
    connection: asyncpg.Connection,
    poor: Organization,
    plan: Plan,
    command: RecordingCommand,
) -> None:
    await overdue(billing, poor, plan)
    await connection.execute("update vps_plans set base_price = 12.30")
    await billing.pass_hours(3)
    async with hook(billing, settings={"debt_hook_command": command.setting}):
        await eventually(outcomes(connection, "delivered"))
    (told,) = command.told
    owed = await connection.fetchval("select $1::numeric", str(told["amountOwed"]))
    assert told["hoursOwed"] == GRACE_HOURS + 2 + 3
    assert owed > Decimal("0.29")


@pytest.mark.parametrize("setting", ["sh -c 'unclosed", " "])
def test_a_command_that_cannot_be_taken_apart_is_refused(setting: str) -> None:
    with pytest.raises(Exception, match=r"DEBT_HOOK_COMMAND: .*expected a program and its arguments"):
        load_settings(BillingSettings, database_url="postgresql://localhost/x", debt_hook_command=setting)
