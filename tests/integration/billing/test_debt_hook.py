"""The debt hook is called once when a debt outlasts the grace period, and once when it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from containerstacks_shared.billing import debt_hook, debt_notices, write_offs
from containerstacks_shared.billing.debt_hook import DebtHook
from containerstacks_shared.billing.debt_notices import note_debts
from containerstacks_shared.billing.documents import RunTrigger
from containerstacks_shared.core.settings import BillingSettings, load_settings
from containerstacks_shared.database.notify import Channel, Listener
from containerstacks_shared.outbox import delivery, messages
from containerstacks_shared.outbox.delivery import ATTEMPTS_MAX, pause_after
from containerstacks_shared.process.runtime import Job
from support import fleet
from support.billing import Billing
from support.fleet import Organization
from support.hook_receiver import RecordingCommand, webhook
from support.jobs import running
from support.waiting import becomes, eventually

GRACE_HOURS = 24


@dataclass(frozen=True)
class Debtor:
    """An organization without money, and the hook that is called about it."""

    billing: Billing
    organization: Organization
    command: RecordingCommand

    async def go_overdue(self, *, instances: int = 1) -> None:
        """Let each of so many instances owe 2 hours, opened longer ago than the grace by now."""
        for _ in range(instances):
            await self.billing.add_instance(self.organization, hours_due=2)
        await self.billing.run()
        await self.billing.pass_time(timedelta(hours=GRACE_HOURS, minutes=1))

    async def pay(self) -> None:
        await self.billing.credit(self.organization, "50")
        await self.billing.run(trigger=RunTrigger.TOP_UP)

    @contextlib.asynccontextmanager
    async def hook(self, *, processes: int = 1, **settings: object) -> AsyncIterator[None]:
        """Run the hooks of several processes; without settings they call the command."""
        loaded = load_settings(
            BillingSettings,
            database_url=self.billing.dsn,
            debt_grace_hours=GRACE_HOURS,
            **(settings or {"debt_hook_command": self.command.setting}),
        )
        listener = Listener(self.billing.dsn, [Channel.BILLING_CHANGED], service="tests")
        hooks = [
            Job(
                f"hook {number}", partial(DebtHook(self.billing.pool, loaded).run, heard=listener.subscribe())
            )
            for number in range(processes)
        ]
        async with running(Job("listening", listener.run), *hooks):
            yield

    async def outcomes(self) -> list[str | None]:
        rows = await self.billing.connection.fetch("select outcome from outbox_messages order by id")
        return [row["outcome"] for row in rows]

    async def await_outcomes(self, *expected: str | None) -> None:
        await becomes(self.outcomes, list(expected))

    async def last_error(self) -> str | None:
        error: str | None = await self.billing.connection.fetchval("select last_error from outbox_messages")
        return error


@pytest.fixture
def debtor(billing: Billing, poor: Organization, tmp_path: Path) -> Debtor:
    return Debtor(billing, poor, RecordingCommand(tmp_path))


@dataclass(frozen=True)
class Hold:
    """A command that says that it has begun, and ends when it may go on."""

    begun: Path
    go_on: Path

    @property
    def setting(self) -> str:
        return f"sh -c 'touch {self.begun}; until [ -e {self.go_on} ]; do sleep 0.02; done'"


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    return Hold(tmp_path / "begun", tmp_path / "go-on")


async def test_a_debt_is_reported_when_it_is_older_than_the_grace_and_when_it_is_settled(
    billing: Billing, connection: asyncpg.Connection, debtor: Debtor
) -> None:
    instance = await billing.add_instance(debtor.organization, hours_due=2)
    since = await connection.fetchval("select created_at from vps_instances")
    async with debtor.hook():
        await billing.run()
        await billing.pass_hours(GRACE_HOURS - 1)
        await billing.run()
        assert debtor.command.notices == []
        await billing.pass_hours(1)
        await billing.run()
        (notice,) = await eventually(lambda: debtor.command.notices)
        opened_at = await connection.fetchval("select opened_at from vps_debts")
        assert notice == {
            "id": notice["id"],
            "event": "debt_overdue",
            "organizationId": str(debtor.organization.id),
            "instanceId": str(instance),
            "since": since.isoformat().replace("+00:00", "Z"),
            "openedAt": opened_at.isoformat().replace("+00:00", "Z"),
            "hoursOwed": GRACE_HOURS + 2,
            "amountOwed": 0.26,
            "settledBy": None,
        }
        await billing.run()
        await debtor.pay()
        await debtor.await_outcomes("delivered", "delivered")
    assert debtor.command.events == ["debt_overdue", "debt_settled"]
    assert debtor.command.notices[1] == notice | {
        "id": debtor.command.notices[1]["id"],
        "event": "debt_settled",
        "hoursOwed": 0,
        "amountOwed": 0,
        "settledBy": "payment",
    }


async def test_several_processes_and_restarts_report_each_debt_once(billing: Billing, debtor: Debtor) -> None:
    await debtor.go_overdue(instances=12)
    async with debtor.hook(processes=3):
        await debtor.await_outcomes(*["delivered"] * 12)
    await debtor.pay()
    async with debtor.hook(processes=3):
        await debtor.await_outcomes(*["delivered"] * 24)
    async with debtor.hook():
        await billing.run()
    instances = [(notice["event"], notice["instanceId"]) for notice in debtor.command.notices]
    assert len(instances) == len(set(instances)) == 24


async def test_a_webhook_gets_each_notice_with_an_idempotency_key(debtor: Debtor) -> None:
    await debtor.go_overdue()
    async with webhook() as receiver:
        command = debtor.command.setting
        async with debtor.hook(debt_hook_url=receiver.url, debt_hook_command=command):
            await debtor.await_outcomes("delivered", "delivered")
        (notice,) = receiver.notices
        assert receiver.keys == [str(notice["id"])]
        assert {**notice, "id": None} == {**debtor.command.notices[0], "id": None}


async def test_a_receiver_that_fails_is_tried_again_later(billing: Billing, debtor: Debtor) -> None:
    await debtor.go_overdue()
    async with webhook() as receiver:
        receiver.status = 500
        async with debtor.hook(debt_hook_url=receiver.url):
            for attempts in (1, 2, 3):
                await eventually(partial(failed_attempts, billing.connection, attempts))
                await billing.pass_time(pause_after(attempts))
                await billing.run()
            receiver.status = 204
            await billing.pass_time(pause_after(4))
            await billing.run()
            await debtor.await_outcomes("delivered")
        assert len({notice["id"] for notice in receiver.notices}) == 1


async def failed_attempts(connection: asyncpg.Connection, attempts: int) -> bool:
    row = await connection.fetchrow("select attempts, last_error, claimed_until from outbox_messages")
    assert row is not None
    assert (row["attempts"], row["claimed_until"]) == (attempts, None)
    assert row["last_error"] == "the webhook answered 500"
    return True


async def test_a_receiver_that_never_answers_well_is_given_up_in_the_end(
    billing: Billing, connection: asyncpg.Connection, debtor: Debtor
) -> None:
    debtor.command.refuse()
    await debtor.go_overdue()
    async with debtor.hook():
        await eventually(debtor.last_error)
        await connection.execute(
            "update outbox_messages set attempts = $1, next_attempt_at = clock_now()", ATTEMPTS_MAX - 1
        )
        await billing.run()
        await debtor.await_outcomes("given_up")
        assert await debtor.last_error() == "exit code 1: out of order"
        # Its end is reported nevertheless.
        debtor.command.refuse(refusing=False)
        await debtor.pay()
        await debtor.await_outcomes("given_up", "delivered")


async def test_a_debt_that_is_settled_before_it_was_reported_is_not_reported(
    billing: Billing, connection: asyncpg.Connection, debtor: Debtor
) -> None:
    await debtor.go_overdue()
    await debtor.pay()
    async with debtor.hook():
        await billing.add_instance(await fleet.add_organization(connection, balance="0"), hours_due=1)
        await billing.run()
        await billing.pass_hours(GRACE_HOURS)
        await billing.run()
        await debtor.await_outcomes("delivered")
    assert debtor.command.notices[0]["organizationId"] != str(debtor.organization.id)


async def test_a_debt_that_is_settled_while_it_is_counted_is_not_reported(
    billing: Billing, debtor: Debtor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await debtor.go_overdue()
    read_owed = debt_notices._read_owed

    async def read_owed_after_a_payment(*arguments: Any) -> Any:
        await debtor.pay()
        return await read_owed(*arguments)

    monkeypatch.setattr(debt_notices, "_read_owed", read_owed_after_a_payment)
    async with billing.pool.acquire() as another, another.transaction():
        await note_debts(another, grace=timedelta(hours=GRACE_HOURS), receivers=["command"])
    assert await debtor.outcomes() == []


async def test_a_notice_that_could_not_be_delivered_is_withdrawn_but_the_settlement_is_delivered(
    debtor: Debtor,
) -> None:
    debtor.command.refuse()
    await debtor.go_overdue()
    async with debtor.hook():
        await eventually(debtor.last_error)
        debtor.command.refuse(refusing=False)
        await debtor.pay()
        await debtor.await_outcomes("withdrawn", "delivered")
    assert debtor.command.events == ["debt_overdue", "debt_settled"]


async def test_a_debt_that_is_written_off_is_settled_without_payment(
    billing: Billing, connection: asyncpg.Connection, debtor: Debtor
) -> None:
    await debtor.go_overdue()
    async with debtor.hook():
        await debtor.await_outcomes("delivered")
        await write_offs.write_off_organization(
            connection, str(debtor.organization.id), reason="goodwill", author="tests"
        )
        await billing.run()
        await debtor.await_outcomes("delivered", "delivered")
    assert [notice["settledBy"] for notice in debtor.command.notices] == [None, "write_off"]


async def test_a_slow_receiver_delays_no_run(debtor: Debtor, hold: Hold) -> None:
    await debtor.go_overdue()
    async with debtor.hook(debt_hook_command=hold.setting):
        await eventually(hold.begun.exists)
        await debtor.pay()
        assert await debtor.outcomes() == [None], "waited for the hook"
        hold.go_on.touch()
        await debtor.await_outcomes("delivered", "delivered")


async def test_a_receiver_that_hangs_is_ended(debtor: Debtor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debt_hook, "_CALL_SECONDS", 0.2)
    await debtor.go_overdue()
    async with debtor.hook(debt_hook_command="sh -c 'sleep 60 & wait'"):
        assert await eventually(debtor.last_error) == "took longer than 0.2 s"


@pytest.mark.parametrize("mistake", [ValueError("of ours"), OSError("not of the database")])
async def test_a_call_that_breaks_is_an_attempt_and_its_neighbour_is_waited_for(
    billing: Billing, connection: asyncpg.Connection, debtor: Debtor, mistake: Exception
) -> None:
    await debtor.go_overdue(instances=2)
    async with connection.transaction():
        await note_debts(connection, grace=timedelta(hours=GRACE_HOURS), receivers=["broken"])
    broke = asyncio.Event()

    async def break_once(_messages: Sequence[messages.Message]) -> None:
        if not broke.is_set():
            broke.set()
            raise mistake
        await billing.pool.execute("select")

    calls = delivery.Delivery(
        *(billing.pool, messages.Topic.DEBT, "broken", "broken", break_once), call_seconds=10, calls_at_once=2
    )
    assert await calls.deliver()
    rows = await connection.fetch(
        "select outcome, last_error, next_attempt_at > clock_now() as waits from outbox_messages order by id"
    )
    assert [tuple(row) for row in rows] == [
        (None, f"broke off ({type(mistake).__name__})", True),
        ("delivered", None, False),
    ]


async def test_no_transaction_is_open_while_a_receiver_is_called(
    connection: asyncpg.Connection, debtor: Debtor, hold: Hold
) -> None:
    await debtor.go_overdue()
    async with debtor.hook(debt_hook_command=hold.setting):
        await eventually(hold.begun.exists)
        assert (
            await connection.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database()"
                " and xact_start is not null and pid <> pg_backend_pid()"
            )
            == 0
        )
        hold.go_on.touch()
        await debtor.await_outcomes("delivered")


async def test_a_stop_waits_for_the_call_in_hand_and_its_record(debtor: Debtor, hold: Hold) -> None:
    await debtor.go_overdue()
    stopping = asyncio.Event()

    async def run_and_stop() -> None:
        async with debtor.hook(debt_hook_command=hold.setting):
            await eventually(hold.begun.exists)
            stopping.set()

    running_and_stopping = asyncio.create_task(run_and_stop())
    await stopping.wait()
    hold.go_on.touch()
    await running_and_stopping
    assert await debtor.outcomes() == ["delivered"]


async def test_a_call_whose_record_had_to_wait_for_the_database_is_not_made_again(
    debtor: Debtor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its claim has run out by the time that the database is back.
    monkeypatch.setattr(debt_hook, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(delivery, "_CLAIM", timedelta(seconds=0.2))
    await debtor.go_overdue()
    ended = messages.end
    failures = iter([OSError("away"), OSError("still away")])

    async def end(*arguments: Any, **options: Any) -> None:
        error = next(failures, None)
        if error is not None:
            raise error
        await ended(*arguments, **options)

    monkeypatch.setattr(messages, "end", end)
    async with debtor.hook():
        await debtor.await_outcomes("delivered")
    assert debtor.command.events == ["debt_overdue"]


async def test_what_is_owed_is_counted_at_the_rates_of_its_hours(billing: Billing, debtor: Debtor) -> None:
    await debtor.go_overdue()
    await billing.connection.execute("update vps_plans set base_price = 12.30")
    await billing.pass_hours(3)
    async with debtor.hook():
        await debtor.await_outcomes("delivered")
    (notice,) = debtor.command.notices
    owed = await billing.connection.fetchval("select $1::numeric", str(notice["amountOwed"]))
    assert notice["hoursOwed"] == GRACE_HOURS + 2 + 3
    assert owed > Decimal("0.29")


@pytest.mark.parametrize("setting", ["sh -c 'unclosed", " "])
def test_a_command_that_cannot_be_taken_apart_is_refused(setting: str) -> None:
    with pytest.raises(Exception, match=r"DEBT_HOOK_COMMAND: .*expected a program and its arguments"):
        load_settings(BillingSettings, database_url="postgresql://localhost/x", debt_hook_command=setting)
