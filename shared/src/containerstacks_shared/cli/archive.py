"""`containerstacks billing archive`: moves old charges out of the tables that every run writes."""

from typing import Annotated

import typer

from containerstacks_shared.billing import archive as billing_archive
from containerstacks_shared.billing.statement import Month
from containerstacks_shared.core.lines import counted
from containerstacks_shared.database.db import Connection
from containerstacks_shared.local.console import say

from .checked import parser
from .database import run_with_database


def archive(
    before: Annotated[
        Month,
        typer.Option(
            "--before",
            parser=parser(Month.parse),
            metavar="YYYY-MM",
            help="The first month whose charges stay where they are, in UTC.",
        ),
    ],
) -> None:
    """Move paid and verified charges into partitions by month; statements, refunds and `verify` read both."""

    async def work(connection: Connection) -> int:
        moved = 0
        async for done in billing_archive.archive(connection, before=before):
            moved += done.cycles
            left = f"; {done.left} left: paid since then, not settled, or not verified" if done.left else ""
            say(f"{done.month}: {counted(done.cycles, 'cycle')} archived{left}")
        return moved

    if run_with_database(work) == 0:
        say(f"Nothing before {before} is there to be archived; nothing was changed.")
