"""Amounts as people write and read them."""

from decimal import Decimal

import pytest

from containerstacks_shared.core.money import format_amount, parse_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("25", Decimal(25)),
        (" 25.50 ", Decimal("25.5")),
        ("0.00000001", Decimal("0.00000001")),
        ("9999999999.99999999", Decimal("9999999999.99999999")),
        ("1.100000000000", Decimal("1.1")),
    ],
)
def test_an_amount_is_read_to_the_last_digit(text: str, amount: Decimal) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not an amount of money"),
        ("-5", "is not an amount of money"),
        ("1e3", "is not an amount of money"),
        ("1,50", "is not an amount of money"),
        ("1_000", "is not an amount of money"),
        ("NaN", "is not an amount of money"),
        ("٣", "is not an amount of money"),
        ("0.00", "is not an amount above zero"),
        ("0.000000001", "has more than 8 decimal places"),
        ("10000000000", "is too large"),
    ],
)
def test_what_a_money_column_could_not_hold_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_amount(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal(0), "0.00 USD"),
        (Decimal("12.5"), "12.50 USD"),
        (Decimal("0.027"), "0.027 USD"),
        (Decimal("-0.00684932"), "-0.00684932 USD"),
        (Decimal("1234567.10000000"), "1,234,567.10 USD"),
    ],
)
def test_an_amount_is_shown_with_every_digit_that_counts(amount: Decimal, text: str) -> None:
    assert format_amount(amount) == text
