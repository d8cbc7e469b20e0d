"""A month on the command line."""

import typer

from containerstacks_shared.billing.statement import Month


def parse_month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
