"""The option that says why, for the record."""

from typing import Annotated

import typer


def _check(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("expected a few words")
    return reason.strip()


Reason = Annotated[str, typer.Option("--reason", callback=_check, help="Why, for the record.")]
