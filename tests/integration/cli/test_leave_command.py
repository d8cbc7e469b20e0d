"""`containerstacks migrate --leave`."""

from support import catalog

from .conftest import Run


def test_leaving_lists_what_stays_and_can_be_undone(run: Run, database_url: str) -> None:
    left = run("migrate", "--leave")
    assert (left.exit_code, left.errors) == (0, "")
    assert "still there" in left.output
    assert "wallet_ledger_entries" not in catalog.tables(database_url)
    again = run("migrate", "--leave")
    assert again.exit_code == 1
    assert again.errors == "error: This database is not migrated, so there is nothing to take out.\n"
    assert run("migrate").output.startswith("Adopted the existing database")
