"""Options that several commands share."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

import typer

from containerstacks_shared.core.lines import REASON_CHARACTERS_MAX, REFERENCE_CHARACTERS_MAX, parse_line

from .checked import parser

Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The most entries to list.")]


def _line(characters_max: int) -> Callable[[str], str]:
    return parser(partial(parse_line, characters_max=characters_max))


_REASON: Final = typer.Option(
    "--reason", parser=_line(REASON_CHARACTERS_MAX), metavar="TEXT", help="The reason, for the record."
)
Reason = Annotated[str, _REASON]
OptionalReason = Annotated[str | None, _REASON]
PaymentReference = Annotated[
    str,
    typer.Option(
        "--reference",
        parser=_line(REFERENCE_CHARACTERS_MAX),
        metavar="TEXT",
        help="The payment's reference: each is credited once, however often the command is repeated.",
    ),
]
