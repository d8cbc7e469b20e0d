"""The one-shot commands, as an operator or a cron job runs them."""

import asyncio
import os
import signal
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from containerstacks_billing_daemon import once
from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_billing_daemon.status_file import FileStatus, StatusDocument, StatusFile
from containerstacks_shared.billing import control
from containerstacks_shared.core.errors import BillingBusy
from containerstacks_shared.database.locks import Leadership, Role
from containerstacks_shared.schema import leave, migrate
from support import charges, databases, fleet
from support.commands import RunCommand
from support.daemons import Start
from support.processes import LOCALHOST, Finished, Processes, free_port
from support.waiting import eventually, session_waiting_for

DAEMON = "containerstacks-billing-daemon"
# Everything that a run could write.
WRITTEN = """
select (select count(*) from billing_runs), (select count(*) from payment_transactions),
       (select count(*) from vps_billing_cycles), (select count(*) from vps_debts),
       (select count(*) from billing_daemon_status), (select sum(balance) from wallets),
       (select max(last_billed_at) from vps_instances), (select sum(term) from leaderships)
"""


def nowhere() -> str:
    return f"postgresql://nobody@{LOCALHOST}:{free_port()}/nothing"


async def test_once_bills_and_exits_with_0(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=2, instances=2, hours=3)
    await fleet.add_instance(
        connection, await fleet.add_organization(connection, balance=None), "no-plan", hours_due=1
    )

    finished = await processes.run(DAEMON, "once", database_url=database_url)

    assert finished.exit_code == 0, finished.errors
    assert finished.output.splitlines()[:2] == [
        "Billed 12 hours of 4 instances: 0.12000000 USD.",
        "Not covered by a wallet: 1 hour of 1 instance.",
    ]
    assert finished.errors == ""
    assert await charges.hours_billed(connection) == due.expected
    assert await charges.runs(connection) == [("daemon", "once", "succeeded")]
    assert await connection.fetchval("select count(*) from billing_daemon_status") == 0


async def test_once_works_beside_a_live_daemon(
    start: Start, connection: asyncpg.Connection, settings: BillingDaemonSettings
) -> None:
    async with start() as daemon:
        await eventually(lambda: daemon.file() is not None)
        await eventually(
            lambda: connection.fetchval("select bool_and(status = 'succeeded') from billing_runs")
        )
        due = await charges.add_due_fleet(connection, organizations=1, instances=2)

        summary = await once.bill_once(settings)

        assert summary.charged.instances_billed == 2
        assert await charges.hours_billed(connection) == due.expected


async def test_a_dry_run_says_what_would_be_charged_and_writes_nothing(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=2, instances=2, hours=3)
    before = await connection.fetchrow(WRITTEN)

    finished = await processes.run(DAEMON, "once", "--dry-run", database_url=database_url)

    assert finished.exit_code == 0, finished.errors
    assert await connection.fetchrow(WRITTEN) == before
    lines = finished.output.splitlines()
    for organization in due.organizations:
        (line,) = (line for line in lines if str(organization.id) in line)
        assert line.split()[-6:] == ["2", "6", "0.06000000", "6", "0.06000000", "100.00000000"]
    assert lines[-1].split() == ["total", "4", "12", "0.12000000", "12", "0.12000000"]
    charged = await once.bill_once(BillingDaemonSettings(database_url=SecretStr(database_url)))
    assert charged.charged.amount_billed == Decimal("0.12")


async def test_once_respects_a_pause_and_gives_its_reason(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    await control.pause(connection, reason="stocktaking", author="a test")
    finished = await processes.run(DAEMON, "once", database_url=database_url)
    assert finished.exit_code == 1
    assert one_line(finished) == "error: billing is paused by a test: stocktaking"


async def test_once_names_an_organization_that_could_not_be_billed(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=2, instances=1)
    broken, sound = due.organizations
    await connection.execute(
        f"alter table vps_billing_cycles add constraint refused check (organization_id <> '{broken.id}')"
    )
    finished = await processes.run(DAEMON, "once", database_url=database_url)
    assert finished.exit_code == 1
    assert f"organization {broken.id}" in one_line(finished)
    assert set(await charges.hours_billed(connection)) == set(due.instances[sound.id])


async def test_once_gives_up_when_another_run_takes_too_long(
    database_url: str, settings: BillingDaemonSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "_LOCK_SECONDS", 0.1)
    async with Leadership(database_url, Role.BILLING_RUN, service="tests") as another:
        await another.try_acquire()
        with pytest.raises(BillingBusy):
            await once.bill_once(settings)


async def test_once_waits_for_a_run_that_ends_in_time(
    database_url: str, connection: asyncpg.Connection, settings: BillingDaemonSettings
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=1)
    async with Leadership(database_url, Role.BILLING_RUN, service="tests") as another:
        await another.try_acquire()
        billing = asyncio.create_task(once.bill_once(settings))
        await eventually(lambda: another_candidate(connection))
    await billing
    assert await charges.hours_billed(connection) == due.expected


async def test_a_signal_ends_once_after_the_batch_in_hand(
    database_url: str, connection: asyncpg.Connection
) -> None:
    due = await charges.add_due_fleet(connection, organizations=2, instances=1)
    first, _ = due.organizations
    settings = BillingDaemonSettings(database_url=SecretStr(database_url), batch_size=1, concurrency=1)
    async with charges.wallet_locked(database_url, first) as blocker:
        billing = asyncio.create_task(once.bill_once(settings))
        await session_waiting_for(connection, blocker)
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(once.RunFailed, match="interrupted after 1 instances"):
        await billing
    assert set(await charges.hours_billed(connection)) == set(due.instances[first.id])


async def test_a_signal_before_the_run_leaves_no_heartbeat_behind(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    await connection.execute(
        "create function wait_here() returns trigger language plpgsql as"
        " 'begin perform pg_advisory_xact_lock(1); return new; end';"
        " create trigger wait_here before insert on billing_daemon_status"
        " for each row execute function wait_here()"
    )
    blocker = await databases.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("select pg_advisory_xact_lock(1)")
        single_run = await processes.launch(DAEMON, database_url, "once")
        await session_waiting_for(connection, blocker.get_server_pid())
        single_run.signal(signal.SIGTERM)
    await blocker.close()
    assert await single_run.exited() == 1, single_run.log
    assert await connection.fetchval("select count(*) from billing_daemon_status") == 0
    assert await connection.fetchval("select count(*) from billing_runs") == 0


async def another_candidate(connection: asyncpg.Connection) -> bool:
    return bool(
        await connection.fetchval(
            "select count(*) > 0 from pg_stat_activity where application_name = 'containerstacks-billing-daemon'"
            " and query like '%pg_try_advisory_lock%'"
        )
    )


@pytest.mark.parametrize("arguments", [("once",), ("once", "--dry-run")])
def test_without_a_database_there_is_one_line_of_error(
    database_url: str, run_command: RunCommand, arguments: tuple[str, ...]
) -> None:
    finished = run_command(DAEMON, *arguments, DATABASE_URL=f"{database_url}_gone")
    assert finished.exit_code == 1
    assert one_line(finished).startswith("error: The database at 127.0.0.1:")


# Status -----------------------------------------------------------------------------------------


async def test_status_is_0_while_the_daemon_lives_and_3_after(
    start: Start, database_url: str, processes: Processes
) -> None:
    async with start() as daemon:
        await eventually(lambda: daemon.file() is not None)
        alive = await processes.run(DAEMON, "status", database_url=database_url)
    stopped = await processes.run(DAEMON, "status", database_url=database_url)

    assert (alive.exit_code, alive.output.splitlines()[0].split()) == (0, ["status", "running"])
    assert alive.output.splitlines()[-1].startswith("service           ")
    assert (stopped.exit_code, stopped.output.splitlines()[0].split()) == (3, ["status", "stopped"])


def test_status_reads_the_file_when_the_database_is_away(run_command: RunCommand, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    document = StatusDocument(status=FileStatus.STOPPED, instance_id="host-1", pid=1, version="0.1.0")
    StatusFile(path).write(document)

    stopped = run_command(DAEMON, "status", DATABASE_URL=nowhere(), STATUS_FILE_PATH=str(path))
    StatusFile(path).write(document.model_copy(update={"status": FileStatus.RUNNING}))
    running = run_command(DAEMON, "status", DATABASE_URL=nowhere(), STATUS_FILE_PATH=str(path))

    assert (stopped.exit_code, running.exit_code) == (3, 0)
    assert stopped.output.splitlines()[0] == f"According to {path}:"
    assert "cannot be asked" in one_line(stopped)


def test_status_of_a_database_that_is_not_migrated_is_one_line(
    run_command: RunCommand, empty_database_url: str
) -> None:
    never = run_command(DAEMON, "status", DATABASE_URL=empty_database_url)
    migrate(empty_database_url)
    leave(empty_database_url)
    left = run_command(DAEMON, "status", DATABASE_URL=empty_database_url)

    assert (never.exit_code, left.exit_code) == (1, 1)
    assert one_line(never) == one_line(left)
    assert "containerstacks migrate" in one_line(never)


# Installing -------------------------------------------------------------------------------------


def test_another_platforms_definition_can_only_be_shown(run_command: RunCommand) -> None:
    finished = run_command(DAEMON, "install", "--platform", "windows")
    assert finished.exit_code == 1
    assert (
        one_line(finished) == "error: This is linux: a definition for windows can only be shown, by --print."
    )


def one_line(finished: Finished) -> str:
    (line,) = finished.errors.splitlines()
    return line
