"""The command line: its commands, and what becomes of their errors."""

import sys

import typer

from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.database.db import application_version

from . import admin, alerts, billing, demo, doctor, incident, maintenance, migrate, psql, up, verify, wallet

app = typer.Typer(
    name="containerstacks",
    help="ContainerStacks: status and about pages, and hourly billing, on one PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(application_version())
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


app.command("up")(up.up)
app.command("migrate")(migrate.migrate)
app.command("verify")(verify.verify)
app.command("doctor")(doctor.doctor)
app.command("psql", context_settings={"ignore_unknown_options": True})(psql.psql)
app.add_typer(demo.app, name="demo")
app.add_typer(admin.app, name="admin")
app.add_typer(wallet.app, name="wallet")
app.add_typer(billing.app, name="billing")
app.add_typer(incident.app, name="incident")
app.add_typer(maintenance.app, name="maintenance")
app.add_typer(alerts.app, name="alerts")


def main() -> None:
    """Run the command. Exit code 2 for a wrong use of the command line, 1 for anything else that failed."""
    try:
        app()
    except ContainerStacksError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
