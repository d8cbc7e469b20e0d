"""`containerstacks billing statement`: what moved an organization's wallets in a month."""

import os
import sys
from typing import Annotated

import typer

from containerstacks_shared.billing.statement import Month, open_statement
from containerstacks_shared.billing.statement_formats import StatementFormat, render
from containerstacks_shared.core.errors import ContainerStacksError
from containerstacks_shared.database.db import Connection

from .checked import parser
from .database import run_with_database


def statement(
    organization: Annotated[str, typer.Option("--organization", help="The organization: an id or a slug.")],
    month: Annotated[
        Month,
        typer.Option("--month", parser=parser(Month.parse), metavar="YYYY-MM", help="The month, in UTC."),
    ],
    wanted: Annotated[
        StatementFormat, typer.Option("--format", help="CSV for spreadsheets, JSON for programs.")
    ] = StatementFormat.CSV,
) -> None:
    """Print each hour that was charged and every other movement; it adds up to the digit."""

    async def work(connection: Connection) -> None:
        async with open_statement(connection, organization=organization, month=month) as read:
            async for piece in render(read, wanted):
                if not _write(piece):
                    return

    run_with_database(work)


def _write(piece: str) -> bool:
    """Whether the reader is still there. Raises `ContainerStacksError` when the output cannot be written."""
    try:
        sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try once more, at its end, to flush what is no longer read.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    except OSError as error:
        # Here, or it would be taken for the database's.
        raise ContainerStacksError(f"the statement could not be written: {error.strerror}") from error
    return True
