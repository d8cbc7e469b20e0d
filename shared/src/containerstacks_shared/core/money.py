"""Amounts of money outside the database: read from people, shown to people, exact in between.

What an hour costs is decided in SQL alone. Nothing here computes a charge.
"""

import re
from decimal import Decimal
from typing import Final

CURRENCY: Final = "USD"
# numeric(18, 8), the type of every money column.
DECIMAL_PLACES_MAX: Final = 8
AMOUNT_LIMIT: Final = Decimal(10) ** 10

_AMOUNT: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def parse_amount(text: str) -> Decimal:
    """Read the positive amount that an operator typed, to the last digit.

    Raises `ValueError` for anything that a money column could not hold unchanged.
    """
    if not _AMOUNT.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not an amount of money (expected a number like 25 or 25.50)")
    amount = Decimal(text.strip())
    if amount == 0:
        raise ValueError(f"{text!r} is not an amount above zero")
    if amount >= AMOUNT_LIMIT:
        raise ValueError(f"{text!r} is too large (expected less than {AMOUNT_LIMIT})")
    if amount != round(amount, DECIMAL_PLACES_MAX):
        raise ValueError(f"{text!r} has more than {DECIMAL_PLACES_MAX} decimal places")
    return amount


def format_amount(amount: Decimal) -> str:
    """Show every digit that counts and at least two decimal places: '12.50 USD', '0.027 USD'."""
    digits = f"{amount:,.{DECIMAL_PLACES_MAX}f}"
    whole, _, fraction = digits.partition(".")
    fraction = fraction.rstrip("0").ljust(2, "0")
    return f"{whole}.{fraction} {CURRENCY}"
