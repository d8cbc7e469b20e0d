"""`migrate --dry-run`: what was found, what is owed, what would change; and afterwards nothing has changed."""

from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from containerstacks_shared.core.errors import DatabaseUnsuitable
from containerstacks_shared.core.money import format_amount
from containerstacks_shared.schema import leave, migrate, preview, suspend
from support import catalog
from support.commands import RunCommand

# A rewritten table has another file.
FILES = (
    "select relname, relfilenode from pg_class where relnamespace = 'public'::regnamespace order by relname"
)

Shown = Callable[[str], str]


def everything(dsn: str) -> object:
    with psycopg.connect(dsn) as connection:
        files = connection.execute(FILES).fetchall()
    return catalog.everything(dsn), catalog.rows(dsn), files


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {
            name
            for (name,) in connection.execute("select tablename from pg_tables where schemaname = 'public'")
        }


@pytest.fixture
def shown(run_command: RunCommand) -> Shown:
    """Run it on a database, which must be the same afterwards, and return what it says."""

    def run(dsn: str) -> str:
        before = everything(dsn)
        finished = run_command("containerstacks", "migrate", "--dry-run", DATABASE_URL=dsn)
        assert (finished.exit_code, finished.errors) == (0, "")
        assert everything(dsn) == before
        return finished.output

    return run


@pytest.mark.parametrize(
    ("version", "said", "unsaid"),
    [
        (
            "schema_a_url",
            [
                "would adopt it",
                "looks for a daemon before it bills",
                "sells no backups",
                "lets a payment be pending",
            ],
            ["billing_daemon_status, "],
        ),
        ("before_the_daemon_url", ["does not look for a daemon", " billing_daemon_status, "], []),
        (
            "schema_b_url",
            [
                "does not look for a daemon",
                "sells backups",
                "has no containers",
                "lets no payment be pending",
                "has row-level security",
                "No hour is owed",
            ],
            [],
        ),
    ],
)
def test_it_recognises_each_version_of_the_application(
    request: pytest.FixtureRequest, shown: Shown, version: str, said: list[str], unsaid: list[str]
) -> None:
    text = shown(request.getfixturevalue(version))
    assert [words for words in said if words not in text] == []
    assert [words for words in unsaid if words in text] == []


def test_the_previewed_changes_are_the_changes_made(schema_a_url: str) -> None:
    before, tables_before = catalog.columns(schema_a_url), tables(schema_a_url)
    text = preview(schema_a_url)
    migrate(schema_a_url)
    after = catalog.columns(schema_a_url)
    made = {change.thing.name for change in text.changes if change.thing.kind == "table"}
    assert made == tables(schema_a_url) - tables_before
    columns = {
        f"{change.thing.owner}.{change.thing.name}"
        for change in text.changes
        if change.thing.kind == "column"
    }
    changed = {name for name in after if before.get(name) != after[name]}
    assert columns == {name for name in changed if name.partition(".")[0] in tables_before}


def test_each_change_has_a_line(schema_a_url: str, shown: Shown) -> None:
    lines = [line.strip() for line in shown(schema_a_url).splitlines()]
    assert "Changes of wallets:" in lines
    assert "column balance from numeric(10,2) to numeric(18,8)" in lines
    assert "+ column wallet_ledger_entry_id bigint" in lines
    assert "+ trigger containerstacks_ledger" in lines
    assert "wallet_ledger_entries" in next(line for line in lines if line.startswith("New tables: "))
    assert any(line.startswith("- foreign key vps_billing_cycles_") for line in lines)


def test_the_previewed_debt_is_that_of_the_adoption(schema_a_url: str, shown: Shown) -> None:
    text = preview(schema_a_url)
    assert text.backlog.instances > 0
    assert text.backlog.hours > text.backlog.instances
    assert text.backlog.owed > text.backlog.payable > Decimal(0)
    said = shown(schema_a_url)
    assert f"Owed: {text.backlog.hours} hours of {text.backlog.instances} instances, " in said
    assert f" instances, {format_amount(text.backlog.owed)}." in said
    assert f"would charge {format_amount(text.backlog.payable)}" in said
    assert f"Billing would be paused: {migrate(schema_a_url).billing_paused_reason}." in said


def test_of_a_database_that_is_ours_already(schema_b_url: str, shown: Shown) -> None:
    migrate(schema_b_url)
    said = shown(schema_b_url)
    assert "is at revision 0001 already" in said
    assert "does not look for a daemon" in said
    assert "No table, column, foreign key, trigger or index would change." in said
    suspend(schema_b_url)
    assert "+ trigger containerstacks_ledger" in shown(schema_b_url)
    leave(schema_b_url)
    assert "would adopt it" in shown(schema_b_url)


def test_of_an_empty_database(empty_database_url: str, shown: Shown) -> None:
    said = shown(empty_database_url)
    assert said.startswith("This database is empty")
    assert "The application" not in said
    assert " wallets, " in said


def test_what_would_refuse_the_migration_refuses_the_preview(schema_a_url: str) -> None:
    with psycopg.connect(schema_a_url) as connection:
        connection.execute("create view rich as select organization_id from wallets where balance > 100")
    before = everything(schema_a_url)
    with pytest.raises(DatabaseUnsuitable, match="view rich"):
        preview(schema_a_url)
    assert everything(schema_a_url) == before


def test_one_thing_at_a_time(run_command: RunCommand, database_url: str) -> None:
    refused = run_command("containerstacks", "migrate", "--dry-run", "--leave", DATABASE_URL=database_url)
    assert refused.exit_code == 2
    assert "exclude each other" in refused.errors
