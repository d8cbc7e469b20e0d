"""One line that a person typed, by one rule for commands and forms."""

from typing import Final

REASON_CHARACTERS_MAX: Final = 500
REFERENCE_CHARACTERS_MAX: Final = 255


def parse_line(text: str, *, characters_max: int) -> str:
    """Return the line without the space around it.

    Raises `ValueError` for nothing but space, for more than `characters_max` characters, and for what cannot be shown
    in one line, such as a line break or a mark that turns the writing round.
    """
    line = text.strip()
    if not line or len(line) > characters_max or not line.isprintable():
        raise ValueError(f"expected one line of 1 to {characters_max} characters")
    return line
