"""How values look on the pages.

`static/js/format.js` writes the same values into an open page. Both are held together by
`tests/support/format_cases.py`, which a unit test feeds to this module and a browser test to that one.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal

from markupsafe import Markup

from containerstacks_shared.core.money import CURRENCY, DECIMAL_PLACES_MAX, format_amount

NOT_KNOWN: Final = "\N{EN DASH}"

_GB_MAX: Final = 10_000
_GB_PER_TB: Final = 1024
_ONE_DECIMAL_BELOW: Final = 100

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
# Ages are in hours up to two days, so that "1 day ago" never hides most of a second one.
_HOURS_MAX: Final = 2 * _DAY

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

FormatName = Literal["text", "number", "size", "unit", "relative", "due", "moment", "clock"]


def shown(value: object, format_name: FormatName, now: datetime) -> str:
    """Format a value of the status document, in which times are ISO 8601 text."""
    if value is None:
        return "" if format_name == "unit" else NOT_KNOWN
    return _FORMATS[format_name](value, now)


def number(value: Decimal | float) -> str:
    """'1,234', and one decimal where it matters: '12.5'."""
    exact = Decimal(str(value))
    small = abs(exact) < _ONE_DECIMAL_BELOW
    rounded = exact.quantize(Decimal("0.1") if small else Decimal(1), rounding=ROUND_HALF_UP)
    text = f"{rounded:,f}"
    return text.removesuffix(".0")


def size(gigabytes: Decimal | float) -> str:
    exact = Decimal(str(gigabytes))
    return number(exact if exact < _GB_MAX else exact / _GB_PER_TB)


def unit(gigabytes: Decimal | float) -> str:
    return "GB" if Decimal(str(gigabytes)) < _GB_MAX else "TB"


def percent(part: int, whole: int) -> str:
    """A share that is not nothing never reads 0%, and one that is not all never 100%."""
    if whole == 0:
        return NOT_KNOWN
    exact = Decimal(100 * part) / Decimal(whole)
    if 0 < exact < Decimal("0.1"):
        return "<0.1%"
    if Decimal("99.9") < exact < 100:  # noqa: PLR2004
        return ">99.9%"
    rounded = exact.quantize(Decimal("0.1"), rounding=ROUND_HALF_UP)
    return f"{rounded}".removesuffix(".0") + "%"


def relative(moment: datetime, now: datetime) -> str:
    """'12 seconds ago', 'in 3 hours'; whole units, rounded towards now."""
    seconds = int((moment - now).total_seconds())
    if seconds == 0:
        return "just now"
    return f"{span(-seconds)} ago" if seconds < 0 else f"in {span(seconds)}"


def span(seconds: int) -> str:
    """'3 hours'; whole units, rounded down."""
    if seconds < _MINUTE:
        amount, name = seconds, "second"
    elif seconds < _HOUR:
        amount, name = seconds // _MINUTE, "minute"
    elif seconds < _HOURS_MAX:
        amount, name = seconds // _HOUR, "hour"
    else:
        amount, name = seconds // _DAY, "day"
    return f"{amount:,} {name}" if amount == 1 else f"{amount:,} {name}s"


def due(moment: datetime, now: datetime) -> str:
    """When something planned will happen; a planned moment that has passed is due."""
    return relative(moment, now) if moment > now else "due now"


def moment(value: datetime) -> str:
    """'23 Nov 2026, 06:46 UTC'."""
    utc = value.astimezone(UTC)
    return f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"


def day(value: date) -> str:
    """'23 Nov', where the year goes without saying; of a moment its day in UTC."""
    utc = value.astimezone(UTC) if isinstance(value, datetime) else value
    return f"{utc.day} {_MONTHS[utc.month - 1]}"


def month_name(value: datetime) -> str:
    """'November 2026'."""
    return f"{value:%B %Y}"


def clock(value: datetime) -> str:
    """'06:46:12 UTC', for what happened moments ago."""
    return f"{value.astimezone(UTC):%H:%M:%S} UTC"


def money_short(amount: Decimal) -> str:
    """Two decimal places, four below one: what a person wants to know of a sum."""
    places = Decimal("0.01") if abs(amount) >= 1 or amount == 0 else Decimal("0.0001")
    return format_amount(amount.quantize(places, rounding=ROUND_HALF_UP))


def money_in_column(amount: Decimal, currency: str | None = CURRENCY) -> Markup:
    """As `format_amount` writes it, with pale zeros where others have digits: the points stand below each other.

    The column's head says that it is USD; another currency, or one that is gone, stands in the row.
    """
    digits, _, _ = format_amount(amount).partition(" ")
    missing = DECIMAL_PLACES_MAX - len(digits.partition(".")[2])
    other = "" if currency == CURRENCY else f" {currency or '?'}"
    return Markup('{}<span class="table__filler" aria-hidden="true">{}</span>{}').format(
        digits, "0" * missing, other
    )


def counted(amount: int | None, one: str, several: str) -> str:
    """Choose the noun that goes with an amount, or with one that is not known."""
    return one if amount == 1 else several


def _moment(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))


def _figure(value: object) -> Decimal:
    return Decimal(str(value))


_FORMATS: Final[dict[str, Callable[[object, datetime], str]]] = {
    "text": lambda value, _now: str(value),
    "number": lambda value, _now: number(_figure(value)),
    "size": lambda value, _now: size(_figure(value)),
    "unit": lambda value, _now: unit(_figure(value)),
    "relative": lambda value, now: relative(_moment(value), now),
    "due": lambda value, now: due(_moment(value), now),
    "moment": lambda value, _now: moment(_moment(value)),
    "clock": lambda value, _now: clock(_moment(value)),
}
