"""From numbers to shapes: scales with round ticks, stacked steps, bars, and gaps where nothing is known.

A shape is drawn in units of its own, one per step across and HEIGHT up, and stretched to whatever size it has on the
page. What must not be stretched (labels, hatching) stands at percentages instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import count, groupby
from math import ceil
from typing import Final

from containerstacks_web.rendering.formats import day, number

HEIGHT: Final = 400
_LEVELS_MAX: Final = 4
_LEADING_DIGITS: Final = (1, 2, 5)
# A bar leaves room to the next one.
_BAR_INSET: Final = Decimal("0.15")
_BAND_WIDTH_MIN: Final = 0.005

_THOUSANDS_FROM: Final = 10_000
_THOUSAND: Final = 1000
_MILLION: Final = 1_000_000

# Labels further right would stick out; every second one goes where there is little room.
_LABEL_UNTIL_PERCENT: Final = 94
_LABELS_WITH_ROOM: Final = 4

Value = Decimal | int | None


@dataclass(frozen=True)
class Scale:
    """From zero to `top`, with a line at each of `levels`."""

    top: int
    levels: Sequence[int]

    def y(self, value: Decimal | int) -> int:
        height = (HEIGHT * Decimal(value) / self.top).quantize(Decimal(1), rounding=ROUND_HALF_UP)
        return HEIGHT - int(height)


@dataclass(frozen=True)
class Tick:
    """A label of an axis, `at` percent of it."""

    label: str
    at: str
    minor: bool = False


@dataclass(frozen=True)
class Gap:
    """Where nothing is known, in percent."""

    x: str
    width: str
    middle: str
    wide: bool


@dataclass(frozen=True)
class Band:
    """A stretch of time that is marked across a picture, in percent."""

    kind: str
    x: str
    width: str


def scale_to(largest: Decimal | int) -> Scale:
    """Reach the largest value with a few levels at whole, round numbers."""
    step = next(step for step in _round_numbers() if step * _LEVELS_MAX >= largest)
    levels = max(1, ceil(largest / step))
    return Scale(step * levels, range(0, step * levels + 1, step))


def scale_for(values: Sequence[Value]) -> Scale:
    """Reach the largest of them that is known."""
    return scale_to(max((value for value in values if value is not None), default=0))


def level_ticks(scale: Scale) -> list[Tick]:
    return [Tick(_short(level), _percent(scale.y(level), HEIGHT)) for level in scale.levels]


def time_ticks(moments: Sequence[datetime], every: timedelta) -> list[Tick]:
    """Name the round moments in UTC: midnights by their day, others by their hour."""
    ticks = [
        (at, moment)
        for at, moment in enumerate(moments)
        if moment.timestamp() % every.total_seconds() == 0 and at * 100 <= _LABEL_UNTIL_PERCENT * len(moments)
    ]
    crowded = len(ticks) > _LABELS_WITH_ROOM
    return [
        Tick(_time_label(moment), _percent(at, len(moments)), minor=crowded and index % 2 == 0)
        for index, (at, moment) in enumerate(ticks)
    ]


def silhouette(values: Sequence[Value], scale: Scale) -> str:
    """Draw steps down to the ground; where a value is missing, nothing."""
    path: list[str] = []
    at = 0
    is_open = False
    for y, steps in groupby(None if value is None else scale.y(value) for value in values):
        until = at + len(list(steps))
        if y is None:
            path.append(f"V{HEIGHT}" if is_open else "")
        else:
            path.append(f"V{y}H{until}" if is_open else f"M{at} {HEIGHT}V{y}H{until}")
        is_open, at = y is not None, until
    return "".join(path) + (f"V{HEIGHT}" if is_open else "")


def stacked(series: Mapping[str, Sequence[Value]], scale: Scale) -> list[tuple[str, str]]:
    """Draw each series on those before it, the topmost first: the next one covers what is not its own.

    A series that is zero throughout has no shape.
    """
    shapes = []
    below: list[Value] = []
    for name, values in series.items():
        below = [_sum(*pair) for pair in zip(below or [0] * len(values), values, strict=True)]
        if any(values):
            shapes.append((name, silhouette(below, scale)))
    return shapes[::-1]


def bars(values: Sequence[Value], scale: Scale) -> str:
    width = 1 - 2 * _BAR_INSET
    return "".join(
        f"M{at + _BAR_INSET} {HEIGHT}V{scale.y(value)}h{width}V{HEIGHT}"
        for at, value in enumerate(values)
        if value is not None
    )


def gaps(values: Sequence[Value]) -> list[Gap]:
    found = []
    at = 0
    for is_gap, steps in groupby(value is None for value in values):
        width = len(list(steps))
        if is_gap:
            whole = len(values)
            middle = _percent(2 * at + width, 2 * whole)
            found.append(Gap(_percent(at, whole), _percent(width, whole), middle, wide=5 * width >= whole))
        at += width
    return found


def band(kind: str, *, begins: float, ends: float) -> Band | None:
    """Mark a stretch between shares of the picture's width; None where it lies outside. A short one stays visible."""
    begins, ends = max(begins, 0), min(ends, 1)
    if begins >= ends:
        return None
    width = max(ends - begins, _BAND_WIDTH_MIN)
    return Band(kind, _share(min(begins, 1 - width)), _share(width))


def marks(values: Sequence[object]) -> list[str]:
    """Return where the steps with something to mark have their middle."""
    return [_percent(2 * at + 1, 2 * len(values)) for at, value in enumerate(values) if value]


def _sum(one: Value, other: Value) -> Value:
    return None if one is None or other is None else one + other


def _round_numbers() -> Iterator[int]:
    for exponent in count():
        for digit in _LEADING_DIGITS:
            yield digit * 10**exponent


def _short(value: int) -> str:
    if value >= _MILLION:
        return f"{number(Decimal(value) / _MILLION)}M"
    return f"{number(Decimal(value) / _THOUSAND)}k" if value >= _THOUSANDS_FROM else number(value)


def _time_label(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return f"{utc:%H:%M}" if utc.hour else day(utc)


def _percent(part: int, whole: int) -> str:
    return f"{round(100 * part / whole, 2):g}%"


def _share(part: float) -> str:
    return f"{round(100 * part, 2):g}%"
