"""The daemon's debt hook across terms."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_shared.database import db
from containerstacks_shared.database.locks import LOCK_CLASS, Role
from containerstacks_shared.outbox import messages
from support import fleet
from support.daemons import Start
from support.hook_receiver import RecordingCommand
from support.waiting import becomes


@pytest.fixture
def command(tmp_path: Path) -> RecordingCommand:
    return RecordingCommand(tmp_path)


@pytest.fixture
def settings(database_url: str, command: RecordingCommand) -> BillingDaemonSettings:
    return BillingDaemonSettings(
        database_url=SecretStr(database_url), debt_hook_command=command.setting, debt_grace_hours=0
    )


async def test_a_notice_is_delivered_once_when_an_outage_that_ends_the_term_keeps_its_record_waiting(
    start: Start,
    connection: asyncpg.Connection,
    pool: db.Pool,
    command: RecordingCommand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await fleet.add_instance(
        connection, await fleet.add_organization(connection, balance="0.00"), hours_due=2
    )
    end = messages.end

    async def end_in_another_term(*arguments: Any, **options: Any) -> None:
        """Fail as if the database were away, and take the term with it."""
        query = "select term from leaderships where role = $1"
        if await pool.fetchval(query, Role.BILLING_DAEMON) == 1:
            await pool.execute(
                "select pg_terminate_backend(pid) from pg_locks where classid = $1 and objid = $2",
                LOCK_CLASS,
                Role.BILLING_DAEMON.number,
            )
            # It has run out by the time that the database is back.
            await pool.execute("update outbox_messages set claimed_until = clock_now()")
            raise ConnectionError("the database is away")
        await end(*arguments, **options)

    async def outcomes() -> list[str | None]:
        return [row["outcome"] for row in await connection.fetch("select outcome from outbox_messages")]

    monkeypatch.setattr(messages, "end", end_in_another_term)
    async with start():
        await becomes(outcomes, ["delivered"])
    assert command.events == ["debt_overdue"]
