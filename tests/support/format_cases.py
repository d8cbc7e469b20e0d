"""How values look on the pages, as a table: Python and JavaScript are both held to it."""

from datetime import UTC, datetime, timedelta

_DASH = "\N{EN DASH}"

NOW = datetime(2026, 11, 23, 6, 46, 12, tzinfo=UTC)


def _at(**distance: float) -> str:
    return (NOW + timedelta(**distance)).isoformat()


# (format, value as in JSON, text on the page)
CASES: list[tuple[str, object, str]] = [
    ("number", None, _DASH),
    ("number", 0, "0"),
    ("number", 1, "1"),
    ("number", 12.5, "12.5"),
    ("number", 12.0, "12"),
    ("number", 0.25, "0.3"),
    ("number", 99.94, "99.9"),
    ("number", 100.4, "100"),
    ("number", 1234, "1,234"),
    ("number", 1234.5, "1,235"),
    ("number", 1006200, "1,006,200"),
    ("number", 123456789012, "123,456,789,012"),
    ("size", 0, "0"),
    ("size", 0.5, "0.5"),
    ("size", 2872.5, "2,873"),
    ("size", 9999, "9,999"),
    ("size", 10000, "9.8"),
    ("size", 53920, "52.7"),
    ("size", 1048576, "1,024"),
    ("unit", None, ""),
    ("unit", 9999.5, "GB"),
    ("unit", 10000, "TB"),
    ("relative", None, _DASH),
    ("relative", _at(), "just now"),
    ("relative", _at(milliseconds=-999), "just now"),
    ("relative", _at(seconds=-1), "1 second ago"),
    ("relative", _at(seconds=-59.9), "59 seconds ago"),
    ("relative", _at(minutes=-1), "1 minute ago"),
    ("relative", _at(minutes=-59, seconds=-59), "59 minutes ago"),
    ("relative", _at(hours=-1), "1 hour ago"),
    ("relative", _at(hours=-47, minutes=-59), "47 hours ago"),
    ("relative", _at(hours=-48), "2 days ago"),
    ("relative", _at(days=-1234), "1,234 days ago"),
    ("relative", _at(seconds=1), "in 1 second"),
    ("relative", _at(minutes=12, seconds=30), "in 12 minutes"),
    ("relative", _at(days=3), "in 3 days"),
    ("due", _at(minutes=12), "in 12 minutes"),
    ("due", _at(), "due now"),
    ("due", _at(minutes=-5), "due now"),
    ("moment", "2026-01-02T03:04:05Z", "2 Jan 2026, 03:04 UTC"),
    ("moment", "2026-12-31T23:59:59.999999+00:00", "31 Dec 2026, 23:59 UTC"),
    ("moment", "2026-06-30T23:30:00+02:00", "30 Jun 2026, 21:30 UTC"),
    ("clock", "2026-11-23T06:46:12.345678Z", "06:46:12 UTC"),
    ("clock", None, _DASH),
]

# (part, whole, text on the page)
SHARES: list[tuple[int, int, str]] = [
    (0, 0, _DASH),
    (0, 10, "0%"),
    (10, 10, "100%"),
    (1, 3, "33.3%"),
    (2, 3, "66.7%"),
    (1, 8, "12.5%"),
    (1, 2000, "<0.1%"),
    (1, 1000, "0.1%"),
    (1999, 2000, ">99.9%"),
    (999, 1000, "99.9%"),
]
