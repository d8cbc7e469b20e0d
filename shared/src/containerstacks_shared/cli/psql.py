"""`containerstacks psql`: a client on the database, without an installation."""

import os
import shutil
import sys
from typing import Annotated, Final

import typer

from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.database import libpq

from .database import read_settings
from .groups import single_command

app = single_command()

# libpq reads it from there: unlike an argument, it is not visible in the list of processes.
_VARIABLES: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "passfile": "PGPASSFILE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


@app.command(context_settings={"ignore_unknown_options": True})
def psql(
    context: typer.Context,
    _arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENTS", help="Arguments for psql.")
    ] = None,
) -> None:
    """Open psql on the database; further arguments are passed to it."""
    parts = libpq.parameters(read_settings().dsn)
    environment = os.environ | {
        variable: str(parts[name]) for name, variable in _VARIABLES.items() if parts.get(name) is not None
    }
    program = _program()
    # With its path as its name: it looks for its own files beside itself.
    os.execve(program, [program, *context.args, *(_arguments or [])], environment)  # noqa: S606 - no shell


def _program() -> str:
    installed = shutil.which("psql")
    if installed is not None:
        return installed
    if sys.platform != "win32":
        from containerstacks_shared.local.embedded.binaries import bundled_program  # noqa: PLC0415

        bundled = bundled_program("psql")
        if bundled is not None:
            return str(bundled)
    raise ConfigurationError(
        "psql is not installed (on Debian: apt install postgresql-client; requirements/local.txt brings one, too)"
    )
