"""`containerstacks migrate`."""

from typing import Annotated

import typer

from containerstacks_shared import schema

from .database import read_settings
from .groups import single_command
from .migrate_preview import show

app = single_command()

_DONE = {
    "created": "Created the schema, revision {}.",
    "adopted": "Adopted the existing database, now at revision {}.",
    "upgraded": "Brought the schema to revision {}.",
    "current": "The schema is at revision {} already.",
}


@app.command()
def migrate(
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what was found, what would change and what would be charged; change nothing.",
        ),
    ] = False,
    leave: Annotated[
        bool,
        typer.Option("--leave", help="Remove everything that was added; all rows of the application stay."),
    ] = False,
    suspend: Annotated[
        bool,
        typer.Option("--suspend", help="Prepare for an upgrade of the application; run `migrate` after it."),
    ] = False,
) -> None:
    """Create the schema, adopt an existing application's database, or bring it up to date."""
    if dry_run + leave + suspend > 1:
        raise typer.BadParameter("--dry-run, --leave and --suspend exclude each other")
    # The direct connection: a pooler in transaction mode would lose the session's lock.
    dsn = read_settings().listen_dsn
    if dry_run:
        show(schema.preview(dsn))
    elif suspend:
        schema.suspend(dsn)
        print(
            "Suspended: billing is paused. Upgrade the application now, then run `containerstacks migrate`."
        )
    elif leave:
        schema.leave(dsn)
        print("Took out everything that was added; every row of the application's tables is still there.")
    else:
        report(schema.migrate(dsn))


def report(migration: schema.Migration) -> None:
    print(_DONE[migration.kind].format(migration.revision))
    if migration.services_have_roles and migration.kind != "current":
        print(
            "The services have roles of their own on this server: run deploy/postgres/roles.sql on this database."
        )
    if migration.billing_paused_reason is not None:
        print(f"Billing is paused: {migration.billing_paused_reason}.")
        print("`containerstacks billing resume --reason …` starts it.")
