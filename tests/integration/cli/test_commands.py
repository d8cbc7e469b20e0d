"""What an operator does by hand."""

import hashlib
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import asyncpg
import psycopg
import pytest

from containerstacks_shared.billing import audit
from containerstacks_shared.fleet.passwords import verify_password

Run = Callable[..., Any]
PASSWORD = "a password of some length"


def one(database: psycopg.Connection, query: str, *values: object) -> tuple[Any, ...]:
    row = database.execute(query.encode(), values).fetchone()
    assert row is not None
    return row


@pytest.fixture
def organization(database: psycopg.Connection) -> str:
    (user,) = one(
        database,
        "insert into users (email, password_hash, name) values ('ada@example.com', 'x', 'Ada') returning id",
    )
    one(
        database,
        "insert into organizations (name, slug, owner_id) values ('Acme', 'acme', %s) returning id",
        user,
    )
    return "acme"


# Schema -----------------------------------------------------------------------------------------


def test_migrating_again_says_that_there_is_nothing_to_do(run: Run) -> None:
    result = run("migrate")
    assert result.exit_code == 0
    assert re.fullmatch(r"The schema is at revision \d+ already\.\n", result.output)


def test_an_empty_database_is_migrated(
    run: Run, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert run("verify").errors == (
        "error: This database is not migrated: run `containerstacks migrate` first.\n"
    )
    assert run("migrate").output.startswith("Created the schema")
    assert run("verify").exit_code == 0


def test_an_unreachable_database_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody:secret@127.0.0.1:1/nothing")
    result = run("migrate")
    assert result.exit_code == 1
    assert result.output == ""
    assert result.errors.startswith("error: ")
    assert result.errors.count("\n") == 1
    assert "secret" not in result.errors


# Administrators ---------------------------------------------------------------------------------


def test_an_administrator_is_created_with_the_password_typed(run: Run, database: psycopg.Connection) -> None:
    result = run("admin", "create", "--email", "root@example.com", "--password-stdin", typed=PASSWORD + "\n")
    assert (result.exit_code, result.output) == (0, "Created the administrator root@example.com.\n")
    role, password_hash = one(
        database, "select role, password_hash from users where email = 'root@example.com'"
    )
    assert role == "admin"
    assert verify_password(PASSWORD, password_hash).matches


@pytest.mark.usefixtures("organization")
def test_an_existing_user_is_not_overwritten(run: Run, database: psycopg.Connection) -> None:
    result = run("admin", "create", "--email", "ada@example.com", "--password-stdin", typed=PASSWORD + "\n")
    assert result.exit_code == 1
    assert result.errors == "error: there is a user ada@example.com already; nothing was changed\n"
    assert one(database, "select role, password_hash from users") == ("user", "x")


def test_an_api_key_is_printed_once_and_kept_as_a_hash(run: Run, database: psycopg.Connection) -> None:
    run("admin", "create", "--email", "root@example.com", "--password-stdin", typed=PASSWORD)
    result = run("admin", "api-key", "--email", "root@example.com")
    assert result.exit_code == 0
    key = result.output.strip()
    assert re.fullmatch(r"sk_live_[0-9a-f]{64}", key)
    kept = one(database, "select key_hash, key_prefix, active, expires_at from user_api_keys")
    assert kept == (hashlib.sha256(key.encode()).hexdigest(), key[:12], True, None)


@pytest.mark.usefixtures("organization")
def test_an_api_key_is_not_made_for_a_user_without_a_role(run: Run, database: psycopg.Connection) -> None:
    result = run("admin", "api-key", "--email", "ada@example.com")
    assert result.exit_code == 1
    assert (
        result.errors
        == "error: ada@example.com is not an administrator, and has no role of this project; nothing was changed\n"
    )
    assert run("admin", "api-key", "--email", "who@example.com").errors == (
        "error: there is no user who@example.com\n"
    )
    assert one(database, "select count(*) from user_api_keys") == (0,)


@pytest.mark.usefixtures("organization")
def test_roles_are_granted_listed_and_revoked(run: Run, database: psycopg.Connection) -> None:
    typed = PASSWORD + "\n"
    run("admin", "create", "--email", "root@example.com", "--password-stdin", typed=typed)
    made = run(
        "admin", "create", "--email", "bob@example.com", "--role", "billing", "--password-stdin", typed=typed
    )
    assert made.output == "Created the user with the role billing, bob@example.com.\n"
    assert one(database, "select role from users where email = 'bob@example.com'") == ("user",)
    given = run("admin", "grant", "--email", "ada@example.com", "--role", "auditor")
    assert given.output == "ada@example.com has the role auditor.\n"
    again = run("admin", "grant", "--email", "ada@example.com", "--role", "auditor")
    assert again.output == "ada@example.com has the role auditor already; nothing was changed.\n"
    assert run("admin", "list").output == (
        "auditor  ada@example.com\nbilling  bob@example.com\nadmin    root@example.com\n"
    )
    assert run("admin", "api-key", "--email", "ada@example.com").output.startswith("sk_live_")
    refused = run("admin", "grant", "--email", "root@example.com", "--role", "auditor")
    assert refused.errors == (
        "error: root@example.com is an administrator and may do everything; nothing was changed\n"
    )
    taken = run("admin", "revoke", "--email", "ada@example.com")
    assert taken.output == "ada@example.com has no role of this project any more.\n"
    assert run("admin", "list").output == "billing  bob@example.com\nadmin    root@example.com\n"
    assert run("admin", "grant", "--email", "ada@example.com", "--role", "admin").exit_code == 2


def test_keys_are_listed_and_revoked(run: Run, database: psycopg.Connection) -> None:
    run("admin", "create", "--email", "root@example.com", "--password-stdin", typed=PASSWORD)
    made = run(
        "admin",
        "api-key",
        "--email",
        "root@example.com",
        "--scope",
        "status",
        "--expires-days",
        "7",
        "--name",
        "wall",
    )
    key = made.output.strip()
    kept = one(
        database,
        "select permissions, expires_at between now() + '6 days' and now() + '8 days', id::text from user_api_keys",
    )
    assert kept[:2] == ({"scopes": ["status"]}, True)
    listed = run("admin", "api-key", "list").output
    assert key not in listed
    for cell in (kept[2], key[:12], "root@example.com", "status", "never", "wall"):
        assert cell in listed
    assert run("admin", "api-key", "revoke", kept[2]).output == f"Revoked the key {kept[2]}.\n"
    assert one(database, "select active from user_api_keys") == (False,)
    assert "revoked" in run("admin", "api-key", "list", "--email", "root@example.com").output
    again = run("admin", "api-key", "revoke", kept[2])
    assert (again.exit_code, again.errors) == (1, f"error: there is no active key {kept[2]}\n")


def test_a_user_is_signed_out_everywhere(run: Run, database: psycopg.Connection) -> None:
    run("admin", "create", "--email", "root@example.com", "--password-stdin", typed=PASSWORD)
    database.execute(
        "insert into web_sessions (token_hash, user_id, expires_at)"
        " select n::text, id, now() + '1 day' from users, generate_series(1, 2) as n"
    )
    assert run("admin", "sign-out", "--email", "root@example.com").output == (
        "Ended 2 sessions of root@example.com.\n"
    )
    assert one(database, "select count(*) from web_sessions") == (0,)
    assert run("admin", "sign-out", "--email", "who@example.com").exit_code == 1


# Money ------------------------------------------------------------------------------------------


def test_a_credit_is_made_once_per_reference(
    run: Run, database: psycopg.Connection, organization: str
) -> None:
    credit = ("wallet", "credit", "--organization", organization, "--reference", "invoice 7")
    assert run(*credit, "--amount", "12.34567891").output == (
        "Credited 12.34567891 USD; the balance is 12.34567891 USD.\n"
    )
    again = run(*credit, "--amount", "12.34567891")
    assert again.exit_code == 0
    assert again.output.startswith("Had been credited before, nothing was changed")
    assert one(database, "select balance from wallets") == (Decimal("12.34567891"),)
    assert run(*credit, "--amount", "13").exit_code == 1
    assert one(database, "select balance from wallets") == (Decimal("12.34567891"),)
    assert run("verify").exit_code == 0


def test_a_credit_records_its_reason(run: Run, database: psycopg.Connection, organization: str) -> None:
    credit = ("wallet", "credit", "--organization", organization, "--amount", "1")
    assert run(*credit, "--reference", "1", "--reason", " a mistake of ours ").exit_code == 0
    assert one(database, "select reason from action_log where action = 'wallet credited'") == (
        "a mistake of ours",
    )
    for option in ("--reference", "--reason"):
        result = run(*credit, "--reference", "2", option, "two\nlines")
        assert result.exit_code == 2
        assert "expected one line of 1 to" in result.errors
    assert one(database, "select count(*) from action_log where action = 'wallet credited'") == (1,)


def test_a_credit_beyond_what_a_wallet_holds_is_refused(
    run: Run, database: psycopg.Connection, organization: str
) -> None:
    credit = ("wallet", "credit", "--organization", organization, "--amount", "9999999999.99999999")
    assert run(*credit, "--reference", "1").exit_code == 0
    result = run(*credit, "--reference", "2")
    assert (result.exit_code, result.output) == (1, "")
    assert result.errors == (
        "error: organization acme: its wallet cannot hold 9999999999.99999999 USD more\n"
    )
    assert one(database, "select balance from wallets") == (Decimal("9999999999.99999999"),)


def test_an_unknown_organization_is_named(run: Run) -> None:
    result = run("wallet", "credit", "--organization", "nobody", "--amount", "1", "--reference", "r")
    assert (result.exit_code, result.output) == (1, "")
    assert result.errors == "error: there is no organization with the id or slug 'nobody'\n"


def test_billing_is_paused_with_a_reason_and_resumed(run: Run, database: psycopg.Connection) -> None:
    assert run("billing", "pause", "--reason", "prices are wrong").exit_code == 0
    paused = one(database, "select paused, reason, changed_by is not null from billing_control")
    assert paused == (True, "prices are wrong", True)
    assert run("billing", "resume", "--reason", "prices are right").exit_code == 0
    assert one(database, "select paused from billing_control") == (False,)


def test_a_held_plan_is_released(run: Run, database: psycopg.Connection) -> None:
    (plan,) = one(
        database,
        "insert into vps_plans (name, provider_plan_id, base_price) values ('Nano', 'nano', 5) returning id",
    )
    release = ("billing", "release", "--plan", str(plan))
    assert run(*release).output == f"The price of plan {plan} is not held; nothing was changed.\n"
    database.execute(
        "insert into price_holds (vps_plan_id, reason, hourly_rate) values (%s, 'far too dear', 9)",
        [plan],
    )
    assert run("billing", "held").output.startswith(f"{plan} (Nano), 0 instances, since ")
    assert run(*release).output == f"Released the price of plan {plan}, held because: far too dear.\n"
    assert run("billing", "held").output == "No price is on hold.\n"
    result = run("billing", "release", "--plan", "00000000-0000-0000-0000-000000000000")
    assert result.errors == "error: there is no VPS plan 00000000-0000-0000-0000-000000000000\n"


# The audit --------------------------------------------------------------------------------------


def test_a_clean_audit_exits_with_0(run: Run) -> None:
    result = run("verify")
    assert (result.exit_code, result.output) == (0, "Every invariant holds.\n")
    as_json = run("verify", "--full", "--json")
    report = json.loads(as_json.output)
    assert (report["clean"], report["full"], report["findings"]) == (True, True, [])


def test_damage_in_audited_rows_is_found_by_default(
    run: Run, database: psycopg.Connection, organization: str
) -> None:
    run("wallet", "credit", "--organization", organization, "--amount", "5", "--reference", "r")
    assert run("verify").exit_code == 0
    database.execute("update payment_transactions set amount = 7")
    assert run("verify").exit_code == 1
    assert run("verify").exit_code == 1


async def test_a_short_history_is_audited_in_full(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_GLANCE_CYCLES_MAX", -1)
    audits = [await audit.audit_for_operator(connection, full=full) for full in (False, False, True)]
    assert [done.based_on is None for done in audits] == [True, False, True]


def test_damage_is_found_and_exits_with_1(run: Run, database: psycopg.Connection, organization: str) -> None:
    run("wallet", "credit", "--organization", organization, "--amount", "5", "--reference", "r")
    # Somebody writes a wallet past every transaction.
    database.execute("update wallets set balance = balance + 1")
    result = run("verify")
    assert result.exit_code == 1
    assert "unexplained" in result.output
    as_json = run("verify", "--json")
    assert as_json.exit_code == 1
    report = json.loads(as_json.output)
    assert not report["clean"]
    assert {"check", "key", "detail"} <= report["findings"][0].keys()
