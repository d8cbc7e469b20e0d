"""What an operator does about money that was charged, or could not be."""

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from containerstacks_shared.billing.documents import Biller, RunTrigger
from containerstacks_shared.billing.run import run_hourly_billing
from containerstacks_shared.billing.statement import Month
from containerstacks_shared.core.settings import BillingSettings, load_settings
from containerstacks_shared.database import db
from support.processes import SCRIPTS

Run = Callable[..., Any]

ACME = """
with owner as (
    insert into users (email, password_hash, name) values ('ada@example.com', 'x', 'Ada') returning id
), organization as (
    insert into organizations (name, slug, owner_id) select 'Acme', 'acme', id from owner returning id
), plan as (
    insert into vps_plans (name, provider_plan_id, base_price, markup_price)
    values ('Nano', 'nano', 5, 2.3) returning id
), wallet as (
    insert into wallets (organization_id, balance) select id, 0.02 from organization
)
insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at)
select organization.id, plan.id::text, '1', 'web-1', now() - interval '5 hours 1 minute' from organization, plan
returning id
"""


@pytest.fixture
def instance(database: psycopg.Connection, database_url: str, capsys: pytest.CaptureFixture[str]) -> UUID:
    """Acme has money for two of the five hours that it owes; billing ran once."""
    found = database.execute(ACME).fetchone()
    assert found is not None
    asyncio.run(bill(database_url))
    # Its log is not what the command under test says.
    capsys.readouterr()
    identifier: UUID = found[0]
    return identifier


async def bill(dsn: str) -> None:
    pool = await db.create_pool(dsn, service="tests")
    await run_hourly_billing(
        pool,
        listen_dsn=dsn,
        biller=Biller.DAEMON,
        trigger=RunTrigger.ONCE,
        settings=load_settings(BillingSettings, database_url=dsn),
    )
    await pool.close()


def cycle_of(database: psycopg.Connection, status: str) -> str:
    row = database.execute("select id from vps_billing_cycles where status = %s", [status]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.usefixtures("instance")
def test_a_cycle_is_refunded_once(run: Run, database: psycopg.Connection) -> None:
    refund = ("billing", "refund", "--cycle", cycle_of(database, "billed"), "--reason", "it was down")
    assert run(*refund).output == "Refunded 1 cycle, 2 hours, 0.02 USD.\n"
    again = run(*refund)
    assert (again.exit_code, again.output) == (0, "Nothing is left to refund; nothing was changed.\n")
    decided = database.execute("select kind, reason, author <> '' from billing_corrections").fetchall()
    assert decided == [("refund", "it was down", True)]
    verified = run("verify", "--full")
    assert (verified.exit_code, verified.output, verified.errors) == (0, "Every invariant holds.\n", "")


@pytest.mark.usefixtures("instance")
def test_a_run_is_refunded(run: Run) -> None:
    assert run("billing", "refund", "--run", "1", "--reason", "wrong price").output == (
        "Refunded 1 cycle, 2 hours, 0.02 USD.\n"
    )
    result = run("billing", "refund", "--run", "7", "--reason", "wrong price")
    assert (result.exit_code, result.errors) == (1, "error: there is no billing run 7\n")


@pytest.mark.usefixtures("instance")
def test_cycles_that_cannot_be_refunded_are_reported(run: Run, database: psycopg.Connection) -> None:
    failed = cycle_of(database, "failed")
    result = run("billing", "refund", "--cycle", failed, "--reason", "r")
    assert result.errors == f"error: billing cycle {failed} is failed: nobody paid it\n"
    database.execute("delete from organizations")
    result = run("billing", "refund", "--run", "1", "--reason", "r")
    assert result.exit_code == 1
    assert result.output.startswith("Not refunded: 1 cycle without ")


def test_hours_are_written_off(run: Run, instance: UUID) -> None:
    write_off = ("billing", "write-off", "--instance", str(instance), "--reason", "goodwill")
    assert run(*write_off).output == "Forgave 3 hours of 1 instance, 0.03 USD, and closed 1 debt.\n"
    assert run(*write_off).output == "Nothing is owed that could be forgiven; nothing was changed.\n"
    assert run("billing", "write-off", "--organization", "acme", "--reason", "goodwill").exit_code == 0
    unknown = uuid4()
    result = run("billing", "write-off", "--instance", str(unknown), "--reason", "goodwill")
    assert result.errors == f"error: there is no VPS instance {unknown}, and there never was\n"
    assert run("verify", "--full").exit_code == 0


@pytest.mark.usefixtures("instance")
def test_hours_that_can_be_paid_are_not_written_off(run: Run) -> None:
    run("wallet", "credit", "--organization", "acme", "--amount", "5", "--reference", "r")
    result = run("billing", "write-off", "--organization", "acme", "--reason", "goodwill")
    assert result.exit_code == 1
    assert "pays for 3 of these hours" in result.errors


def this_month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def next_month() -> str:
    return str(Month.parse(this_month()).next)


def test_a_statement_is_csv_or_json(run: Run, instance: UUID) -> None:
    statement = ("billing", "statement", "--organization", "acme", "--month", this_month())
    rows = list(csv.DictReader(io.StringIO(run(*statement).output)))
    assert [(row["kind"], row["amount"], row["balance"]) for row in rows] == [
        ("opening_balance", "0.00", "0.00"),
        ("opening", "0.02", "0.02"),
        ("charge", "-0.01", "0.01"),
        ("charge", "-0.01", "0.00"),
        ("closing_balance", "0.00", "0.00"),
    ]
    assert {row["instance"] for row in rows if row["kind"] == "charge"} == {str(instance)}
    document = json.loads(run(*statement, "--format", "json").output)
    assert document["organization"]["name"] == "Acme"
    assert len(document["lines"]) == 3
    result = run("billing", "statement", "--organization", "nobody", "--month", this_month())
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.usefixtures("instance")
def test_months_that_are_over_are_archived(
    run: Run, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("set timezone = 'UTC'")
    archive = ("billing", "archive", "--before")
    result = run(*archive, "2031-13")
    assert (result.exit_code, "is not a month" in result.errors) == (2, True)
    later = next_month()
    result = run(*archive, later)
    assert (result.exit_code, result.errors) == (
        1,
        f"error: {later} has not begun; only months that are over can be archived\n",
    )
    assert run("verify").exit_code == 0
    name = database.execute("select quote_ident(current_database())").fetchone()
    assert name is not None
    database.execute(f"alter database {name[0]} set containerstacks.clock_offset = '32 days'")
    monkeypatch.setenv("TEST_CLOCK", "1")
    (began,) = database.execute(
        "select to_char(billing_period_start at time zone 'UTC', 'YYYY-MM') from vps_billing_cycles"
        " where status = 'billed'"
    ).fetchone() or ("",)
    assert run(*archive, later).output == f"{began}: 1 cycle archived\n"
    assert run(*archive, later).output == (
        f"Nothing before {later} is there to be archived; nothing was changed.\n"
    )
    assert run("verify", "--full").exit_code == 0


@pytest.mark.usefixtures("instance")
def test_a_reader_who_closes_the_pipe_early_gets_no_error(
    database: psycopg.Connection, database_url: str
) -> None:
    for _ in range(2000):
        database.execute("update wallets set balance = balance + 1")
    script = (
        f"{SCRIPTS}/containerstacks billing statement --organization acme --month {this_month()} | head -n 2"
    )
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {script}"],
        env={"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 2)


def test_runs_debts_and_runways_are_listed(run: Run, instance: UUID) -> None:
    head, line = run("billing", "runs").output.splitlines()
    assert head.split()[0] == "run"
    assert " daemon " in line
    assert " succeeded " in line
    head, line, total = run("billing", "debts").output.splitlines()
    assert head.startswith("opened (UTC)")
    assert str(instance) in line
    assert line.endswith("Acme          insufficient_balance")
    assert total == "1 debt, 3 hours, 0.03 USD."
    head, line = run("billing", "runway", "--below", "72").output.splitlines()
    assert line.startswith("0.0 hours")
    assert line.endswith("Acme")


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
def test_an_instance_with_an_infinite_date_is_named_and_all_others_are_listed(
    run: Run, database: psycopg.Connection, instance: UUID, moment: str
) -> None:
    row = database.execute(
        "insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at)"
        " select organization_id, plan_id, '1', 'odd', %s::timestamptz from vps_instances where id = %s returning id",
        (moment, instance),
    ).fetchone()
    assert row is not None
    _, line = run("billing", "runway", "--below", "72").output.splitlines()
    assert line.endswith("Acme")
    assert str(instance) in run("billing", "debts").output
    result = run("verify")
    assert result.exit_code == 1
    assert str(row[0]) in result.output


def test_empty_lists_have_a_message(run: Run) -> None:
    assert run("billing", "runs").output == "Billing has not run yet.\n"
    assert run("billing", "debts").output == "Nobody is in debt.\n"
    assert run("billing", "runway").output == "Nobody has an instance.\n"


@pytest.mark.usefixtures("instance")
def test_a_name_cannot_move_the_cursor(run: Run, database: psycopg.Connection) -> None:
    database.execute("update organizations set name = E'\\x1b[2JAcme\\nevil'")
    (_, line) = run("billing", "runway").output.splitlines()
    assert line.endswith(" [2JAcme evil")


@pytest.mark.usefixtures("instance")
def test_an_unexplained_movement_is_explained(run: Run, database: psycopg.Connection) -> None:
    database.execute("update wallets set balance = balance + 1")
    result = run("verify")
    assert result.exit_code == 1
    entry = result.output.split(": ")[1]
    assert run("wallet", "explain", "--entry", entry, "--reason", "by hand").output == (
        "Explained 1 ledger entry.\n"
    )
    assert run("verify").exit_code == 0
    assert run("wallet", "explain", "--all", "--reason", "by hand").output == "Explained 0 ledger entries.\n"
    result = run("wallet", "explain", "--entry", "4711", "--reason", "by hand")
    assert result.errors == "error: ledger entry 4711 is not an unexplained one\n"
