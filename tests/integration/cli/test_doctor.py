"""`containerstacks doctor`: a line for each thing, what to do about it, and an archive that gives nothing away."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from containerstacks_shared.database.locks import LOCK_CLASS, Role
from containerstacks_shared.doctor import bundle
from support.roles import as_role

Run = Callable[..., Any]

# Anything of these in a bundle would be a leak.
SECRETS = {
    "JWT_SECRET": "jwt-zanzibar-secret",
    "SESSION_SECRET": "session-zanzibar-0123456789-0123456789",
    "HEARTBEAT_URL": "https://hc-ping.example/zanzibar-token",
    "ALERT_URLS": "json://zanzibar.example/token",
    "DEBT_HOOK_URL": "https://zanzibar.example/hook",
    "DEBT_HOOK_COMMAND": "/opt/zanzibar/hook --key zanzibar",
    "COMPANY_NAME": "Zanzibar Hosting",
}
AMOUNT = "73914.25817"


def levels(result: Any) -> dict[str, str]:
    """The worst level of each subject."""
    order = ["ok", "warning", "failed"]
    found: dict[str, str] = {}
    for line in result.output.splitlines():
        level, _, rest = line.partition(" ")
        if level in order:
            subject = rest.strip().split("  ")[0]
            found[subject] = max(found.get(subject, "ok"), level, key=order.index)
    return found


def test_a_database_without_services_is_examined_and_has_no_biller(run: Run) -> None:
    result = run("doctor")
    assert result.exit_code == 1
    found = levels(result)
    assert found["biller"] == "failed"
    # The tests' server is not made to survive a power failure, and the doctor says so.
    assert {subject for subject, level in found.items() if level == "failed"} <= {"biller", "server"}
    assert (
        found | {"coordination": "ok", "clock": "ok", "triggers": "ok", "guard": "ok", "roles": "ok"} == found
    )
    assert "Start the billing daemon" in result.output


def test_it_changes_nothing(run: Run, database: psycopg.Connection) -> None:
    counts = "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables"
    database.execute("select pg_stat_force_next_flush()")
    before = database.execute(counts).fetchone()
    run("doctor")
    assert database.execute(counts).fetchone() == before


@pytest.mark.parametrize(
    ("statement", "subject", "level"),
    [
        ("update billing_control set paused = true, reason = 'stocktaking'", "pause", "warning"),
        (
            "insert into price_holds (vps_plan_id, reason, hourly_rate) values (gen_random_uuid(), 'x', 1)",
            "prices",
            "warning",
        ),
        ("alter database {name} set containerstacks.guard = 'off'", "guard", "failed"),
        ("alter database {name} set containerstacks.clock_offset = '5 hours'", "clock", "failed"),
        ("alter table wallets disable trigger containerstacks_ledger", "triggers", "failed"),
        ("revoke insert on billing_runs from containerstacks_billing_daemon", "roles", "failed"),
        (
            "insert into billing_audits (is_full, finished_at, findings_own) values (true, clock_now(), 2)",
            "audit",
            "failed",
        ),
        (
            """
            insert into billing_runs (biller, trigger, holder, term, status, finished_at)
            values ('daemon', 'schedule', 'x', 0, 'failed', clock_now())
            """,
            "last run",
            "warning",
        ),
        (
            """
            insert into billing_daemon_status (daemon_instance_id, status, started_at, heartbeat_at, metadata)
            values ('x', 'running', clock_now(), clock_now(),
                    '{{"biller": "daemon", "version": "0.0.1", "billingIntervalMinutes": 240}}')
            """,
            "versions",
            "warning",
        ),
    ],
)
def test_each_problem_has_a_line_of_its_own(
    run: Run, database: psycopg.Connection, statement: str, subject: str, level: str
) -> None:
    before = levels(run("doctor"))
    assert before.get(subject, "ok") != level
    name = database.execute("select quote_ident(current_database())").fetchone()
    assert name is not None
    database.execute(statement.format(name=name[0]).encode())
    assert levels(run("doctor"))[subject] == level


def test_a_running_biller_is_named(run: Run, database: psycopg.Connection) -> None:
    database.execute(
        "insert into billing_daemon_status (daemon_instance_id, status, started_at, heartbeat_at, metadata)"
        " values ('x', 'running', clock_now(), clock_now(), '{\"biller\": \"daemon\"}')"
    )
    database.execute("select pg_advisory_lock(%s, %s)", (LOCK_CLASS, Role.BILLING_DAEMON.number))
    assert levels(run("doctor"))["biller"] == "ok"


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"TEST_CLOCK": "1"}, "TEST_CLOCK is set"),
        ({"DEBT_GRACE_HOURS": "12"}, "there is no debt hook"),
        ({"ALERT_PAUSE_MINUTES": "5"}, "nobody is alerted"),
        ({"DATABASE_READ_BEHIND_SECONDS_MAX": "5"}, "no standby to read from"),
    ],
)
def test_settings_that_contradict_each_other_are_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], text: str
) -> None:
    assert text not in run("doctor").output
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert text in run("doctor").output


def test_an_unreachable_database_is_a_finding(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("containerstacks_shared.database.db._START_PATIENCE_SECONDS", 0.1)
    monkeypatch.setenv("DATABASE_URL", "postgresql://zanzibar:secret@127.0.0.1:1/nowhere")
    result = run("doctor")
    assert (result.exit_code, levels(result)["server"]) == (1, "failed")
    assert "secret" not in result.output


def test_the_role_of_a_service_can_run_it(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("containerstacks_web", "containerstacks_billing_daemon"):
        monkeypatch.setenv("DATABASE_URL", as_role(database_url, role))
        result = run("doctor")
        assert "could not be looked at" not in result.output, result.output


def test_a_bundle_holds_no_secret_no_name_and_no_amount(
    run: Run, database: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in SECRETS.items():
        monkeypatch.setenv(variable, value)
    plant(database)
    plant_log(tmp_path, monkeypatch)
    file = tmp_path / "bundle.tar.gz"
    result = run("doctor", "--bundle", str(file))
    assert f"Written: {file}" in result.output
    assert file.stat().st_mode & 0o077 == 0
    files = unpack(file)

    everything = "\n".join(files.values())
    assert "zanzibar" not in everything.lower()
    for part in (AMOUNT, "73914", "73,914", "postgresql://"):
        assert part not in everything
    # And yet it says something.
    assert set(files) == {
        *("doctor.txt", "settings.txt", "versions.txt", "runs.jsonl", "tables.jsonl", "log.jsonl"),
    }
    assert "HEARTBEAT_URL set" in files["settings.txt"]
    assert "BILLING_INTERVAL_MINUTES 60" in files["settings.txt"]
    errors = {json.loads(line)["error_message"] for line in files["runs.jsonl"].splitlines()}
    assert '… row for relation "vps_billing_cycles" violates check constraint "refused"' in errors
    assert json.loads(files["log.jsonl"]) == {"event": "billing_run.failed", "level": "error", "run_id": 7}


def plant(database: psycopg.Connection) -> None:
    """Put a name and an amount into every place that can hold one."""
    database.execute(
        f"""
        with owner as (
            insert into users (email, password_hash, name)
            values ('zanzibar@example.com', 'zanzibar', 'Zanzibar') returning id
        ), organization as (
            insert into organizations (name, slug, owner_id) select 'Zanzibar', 'zanzibar', id from owner returning id
        ), wallet as (
            insert into wallets (organization_id, balance) select id, {AMOUNT} from organization
        )
        insert into vps_instances (organization_id, plan_id, provider_instance_id, label, created_at)
        select id, '{uuid4()}', '1', 'zanzibar', now() - interval '5 hours' from organization
        """.encode()
    )
    database.execute(
        "update billing_control set paused = true, reason = 'zanzibar owes', changed_by = 'zanzibar'"
    )
    database.execute(
        "insert into billing_daemon_status"
        " (daemon_instance_id, status, started_at, heartbeat_at, metadata, error_message)"
        " values ('zanzibar-1', 'running', clock_now(), clock_now(),"
        """ '{"biller": "daemon", "version": "0.0.1", "hostname": "zanzibar"}', 'zanzibar')"""
    )
    for message in (
        'new row for relation "vps_billing_cycles" violates check constraint "refused"\nDETAIL:  (zanzibar)',
        "billing is paused by zanzibar: Zanzibar owes 73914.25817",
        'invalid input syntax for type uuid: "zanzibar"',
        "zanzibar@example.com",
    ):
        database.execute(
            "insert into billing_runs"
            " (biller, trigger, holder, term, status, finished_at, error_message, amount_billed)"
            f" values ('daemon', 'schedule', 'zanzibar-1', 0, 'failed', clock_now(), %s, {AMOUNT})".encode(),
            (message,),
        )


def plant_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {
            "event": "billing_run.failed",
            "level": "error",
            "run_id": 7,
            "error": "zanzibar",
            "amount_billed": AMOUNT,
        },
        {"event": "Task for zanzibar was destroyed", "level": "error"},
    ]
    text = "\n".join(
        [*map(json.dumps, lines), "2026-01-01 [info] sign_in.accepted email=zanzibar@example.com"]
    )
    program = folder / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


def unpack(file: Path) -> dict[str, str]:
    files = {}
    with tarfile.open(file) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            assert content is not None
            files[Path(member.name).name] = content.read().decode()
    return files


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("canceling statement due to lock timeout", "canceling statement due to lock timeout"),
        ('relation "vps_plans" does not exist', 'relation "vps_plans" does not exist'),
        ('role "Acme" does not exist', "role … does not exist"),
        ("", ""),
    ],
)
def test_an_error_in_the_bundle_keeps_its_cause(message: str, kept: str) -> None:
    assert bundle.safe_error(message) == kept
