"""Lines of text: read from people by one rule for commands and forms, and printed for them."""

from collections.abc import Sequence
from typing import Final

REASON_CHARACTERS_MAX: Final = 500
REFERENCE_CHARACTERS_MAX: Final = 255


def parse_line(text: str, *, characters_max: int) -> str:
    """Return the line without the space around it.

    Raises `ValueError` for an empty line, for more than `characters_max` characters, and for what cannot be shown
    in one line, such as a line break or a mark of right-to-left text.
    """
    line = text.strip()
    if not line or len(line) > characters_max or not line.isprintable():
        raise ValueError(f"expected one line of 1 to {characters_max} characters")
    return line


def one_line(text: str) -> str:
    """Names are typed by customers, and errors span lines: nothing in them may look like another line."""
    return "".join(character if character.isprintable() else " " for character in text)


def counted(amount: int, one: str, many: str | None = None) -> str:
    """Return '1 hour' or '2 hours'; `many` is for words that do not end in an s alone."""
    return f"{amount} {one if amount == 1 else many or f'{one}s'}"


def aligned(rows: Sequence[Sequence[str]], *, text_columns: int | None = None) -> list[str]:
    """Return the lines of a table. Columns after the first `text_columns` stand right, as figures do."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if text_columns is None or column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
