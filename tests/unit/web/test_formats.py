"""How values look on the pages."""

from datetime import datetime

import pytest

from containerstacks_web.rendering import formats
from containerstacks_web.rendering.formats import FormatName
from support import format_cases


@pytest.mark.parametrize(("format_name", "value", "text"), format_cases.CASES)
def test_values_read_as_people_expect(format_name: FormatName, value: object, text: str) -> None:
    assert formats.shown(value, format_name, format_cases.NOW) == text


@pytest.mark.parametrize(("part", "whole", "text"), format_cases.SHARES)
def test_a_share_never_reads_as_nothing_or_all_when_it_is_not(part: int, whole: int, text: str) -> None:
    assert formats.percent(part, whole) == text


def test_a_moment_may_come_as_one() -> None:
    assert (
        formats.shown(datetime.fromisoformat("2026-11-23T06:46:12Z"), "clock", format_cases.NOW)
        == "06:46:12 UTC"
    )


@pytest.mark.parametrize(("amount", "noun"), [(0, "users"), (1, "user"), (2, "users"), (None, "users")])
def test_one_is_singular(amount: int | None, noun: str) -> None:
    assert formats.counted(amount, "user", "users") == noun
