"""Databases that are neither empty nor an application's to adopt are left exactly as they are."""

from collections.abc import Sequence

import psycopg
import pytest
from psycopg import sql

from containerstacks_shared.core.errors import DatabaseUnsuitable
from containerstacks_shared.schema import migrate
from support import catalog
from support.databases import DatabaseServer, database_name, with_database


def refused(dsn: str, *, match: str) -> None:
    before = catalog.everything(dsn), catalog.rows(dsn)
    with pytest.raises(DatabaseUnsuitable, match=match) as refusal:
        migrate(dsn)
    assert "\n" not in str(refusal.value)
    assert (catalog.everything(dsn), catalog.rows(dsn)) == before


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("column", "named"),
    [("wallets.currency", "wallets.currency"), ("vps_plans.specifications", "vps_plans.specifications")],
)
def test_a_missing_required_column_is_named(schema_b_url: str, column: str, named: str) -> None:
    table, _, name = column.partition(".")
    execute(schema_b_url, f"alter table {table} drop column {name}")
    refused(schema_b_url, match=f"lacks the columns {named}. Nothing was changed")


@pytest.mark.parametrize("missing", [("wallets",), ("vps_billing_cycles", "payment_transactions")])
def test_a_schema_with_some_tables_missing_is_refused_by_their_names(
    schema_a_url: str, missing: Sequence[str]
) -> None:
    execute(schema_a_url, *(f"drop table {table} cascade" for table in missing))
    refused(schema_a_url, match=f"missing: {', '.join(sorted(missing))}")


def test_a_foreign_database_with_a_table_of_the_same_name_is_refused(empty_database_url: str) -> None:
    execute(empty_database_url, "create table users (id serial primary key, email text)")
    refused(empty_database_url, match="some of ContainerStacks' tables but not all")


def test_a_database_with_a_view_on_a_money_column_is_refused(schema_a_url: str) -> None:
    execute(schema_a_url, "create view rich as select organization_id from wallets where balance > 100")
    refused(
        schema_a_url, match="nothing was changed: cannot alter type of a column used by a view .*view rich"
    )


def test_a_table_with_one_of_our_names_is_refused(schema_a_url: str) -> None:
    execute(schema_a_url, "create table counts (n integer)", "insert into counts values (1)")
    refused(schema_a_url, match='"counts" already exists')


def test_a_role_that_does_not_own_the_tables_is_refused(schema_a_url: str) -> None:
    role = f"visitor_{database_name(schema_a_url)}"
    with psycopg.connect(schema_a_url, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {} login password 'visitor'").format(sql.Identifier(role)))
        try:
            owner.execute(sql.SQL("grant all on schema public to {}").format(sql.Identifier(role)))
            host = schema_a_url.partition("@")[2]
            before = catalog.rows(schema_a_url)
            with pytest.raises(DatabaseUnsuitable, match="must be owner of"):
                migrate(f"postgresql://{role}:visitor@{host}")
            assert catalog.rows(schema_a_url) == before
        finally:
            owner.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(role)))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding_is_refused_by_its_name(
    database_server: DatabaseServer, encoding: str
) -> None:
    name = f"encoded_{encoding.lower()}"
    with psycopg.connect(database_server.dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template template0 encoding {} locale 'C'").format(
                sql.Identifier(name), sql.Literal(encoding)
            )
        )
    try:
        with pytest.raises(DatabaseUnsuitable, match=f"is encoded in {encoding}; UTF8 is needed"):
            migrate(with_database(database_server.dsn, name))
    finally:
        database_server.drop(name)
