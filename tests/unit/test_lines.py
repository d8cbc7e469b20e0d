"""One line that a person typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerstacks_shared.core.lines import counted, parse_line


@given(st.text(max_size=20))
def test_an_accepted_line_is_one_printable_line(text: str) -> None:
    try:
        line = parse_line(text, characters_max=10)
    except ValueError:
        assert not text.strip() or len(text.strip()) > 10 or not text.strip().isprintable()
    else:
        assert 1 <= len(line) <= 10
        assert line.splitlines() == [line] == [line.strip()]
        assert line in text


@pytest.mark.parametrize("text", ["", "  \t ", "a\nb", "a\x00b", "pay\u202etes", "x" * 11])
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected one line of 1 to 10 characters"):
        parse_line(text, characters_max=10)


@pytest.mark.parametrize(
    ("amount", "words", "said"),
    [
        (0, ("hour",), "0 hours"),
        (1, ("hour",), "1 hour"),
        (2, ("hour",), "2 hours"),
        (1, ("ledger entry", "ledger entries"), "1 ledger entry"),
        (2, ("ledger entry", "ledger entries"), "2 ledger entries"),
    ],
)
def test_one_is_no_plural(amount: int, words: tuple[str, ...], said: str) -> None:
    assert counted(amount, *words) == said
