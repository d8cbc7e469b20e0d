"""On an empty database: the original's tables by its own names and types, and everything beside them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from containerstacks_shared import schema
from containerstacks_shared.core.errors import DatabaseUnavailable, DatabaseUnsuitable
from containerstacks_shared.database import suitability
from containerstacks_shared.database.locks import LOCK_CLASS, Role
from containerstacks_shared.schema import head_revision, migrate, preview
from support import catalog
from support.original_application import TABLES

from .conftest import MONEY


def test_an_empty_database_gets_everything(empty_database_url: str) -> None:
    migration = migrate(empty_database_url)
    assert (migration.kind, migration.billing_paused_reason) == ("created", None)
    assert migration.revision == head_revision() == suitability.SCHEMA_REVISION
    assert set(TABLES) <= set(catalog.tables(empty_database_url))


def test_session_settings_of_the_database_do_not_affect_a_migration(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute("create schema in_front")
        for setting, value in (
            ("search_path", "in_front"),
            ("default_transaction_isolation", "serializable"),
        ):
            connection.execute(
                sql.SQL("alter database {} set {} = {}").format(
                    name, sql.Identifier(setting), sql.Literal(value)
                )
            )
    assert migrate(empty_database_url).kind == "created"
    assert set(TABLES) <= set(catalog.tables(empty_database_url))
    assert migrate(empty_database_url).kind == "current"
    asyncio.run(suitability.assert_suitable(empty_database_url, empty_database_url, test_clock=False))


def test_a_fresh_schema_has_the_originals_columns_and_wider_money(
    database_url: str, schema_a_url: str
) -> None:
    original, fresh = catalog.columns(schema_a_url), catalog.columns(database_url)
    wanted = {name: kind for name, kind in original.items() if name.split(".")[0] in TABLES}
    different = {name: fresh.get(name) for name, kind in wanted.items() if fresh.get(name) != kind}
    assert set(different) == MONEY
    assert all(str(kind).startswith("numeric(18,8)") for kind in different.values())
    for name, kind in different.items():
        # Only wider: nullability and default stay.
        assert str(kind).partition(")")[2].replace(".00", "") == wanted[name].partition(")")[2].replace(
            ".00", ""
        )


def test_a_fresh_schema_checks_what_the_original_checks(database_url: str, schema_a_url: str) -> None:
    def constraints(dsn: str) -> set[tuple[str, str]]:
        return {
            (name.partition(".")[0], definition)
            for name, definition in catalog.everything(dsn).items()
            if name.startswith("constraint ") and name.removeprefix("constraint ").split(".")[0] in TABLES
        }

    missing = constraints(schema_a_url) - constraints(database_url)
    assert {definition.split(" ")[0] for _, definition in missing} == {"FOREIGN"}
    assert {table for table, _ in missing} == {
        "constraint payment_transactions",
        "constraint vps_billing_cycles",
    }


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    before = catalog.everything(database_url), catalog.rows(database_url)
    assert migrate(database_url).kind == "current"
    assert (catalog.everything(database_url), catalog.rows(database_url)) == before


def test_the_schema_of_a_later_release_stays_as_it_is(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update containerstacks_schema_version set version_num = '9999'")
    before = catalog.everything(database_url), catalog.rows(database_url)
    migration = migrate(database_url)
    assert (migration.kind, migration.revision) == ("current", "9999")
    assert preview(database_url).migration == migration
    for command in (schema.suspend, schema.leave):
        with pytest.raises(DatabaseUnsuitable, match="later release"):
            command(database_url)
    assert (catalog.everything(database_url), catalog.rows(database_url)) == before


@pytest.mark.parametrize("kind", ["created", "adopted"])
def test_of_two_that_migrate_at_once_one_does_it(request: pytest.FixtureRequest, kind: str) -> None:
    dsn = request.getfixturevalue("empty_database_url" if kind == "created" else "schema_a_url")
    with ThreadPoolExecutor() as threads:
        kinds = [migration.kind for migration in threads.map(migrate, [dsn] * 3)]
    assert sorted(kinds) == sorted([kind, "current", "current"])


def test_waiting_for_another_migration_has_a_limit(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_LOCK_WAIT_MAX_SECONDS", 0.0)
    monkeypatch.setattr(schema, "_LOCK_PAUSE_SECONDS", 0.0)
    with psycopg.connect(empty_database_url) as other:
        other.execute("select pg_advisory_lock(%s, %s)", (LOCK_CLASS, Role.MIGRATION.number))
        with pytest.raises(DatabaseUnsuitable, match="Another migration"):
            migrate(empty_database_url)
    assert catalog.tables(empty_database_url) == []


def test_a_migration_that_fails_midway_changes_nothing(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        # In the way of a late step.
        connection.execute(
            "create function record_wallet_movement() returns trigger language plpgsql as 'begin end'"
        )
    before = catalog.everything(empty_database_url)
    with pytest.raises(DatabaseUnsuitable, match=r"nothing was changed: .*record_wallet_movement"):
        migrate(empty_database_url)
    assert catalog.everything(empty_database_url) == before


def test_an_unreachable_database_is_reported() -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        migrate("postgresql://somebody@127.0.0.1:1/nothing")
