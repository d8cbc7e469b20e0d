"""The history of the status page: which range is asked for, and its charts with the tables behind them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final

from aiohttp import web

from containerstacks_shared.billing.documents import RunHistoryPoint
from containerstacks_shared.fleet.vps import VpsHistoryPoint, VpsStatusGroup
from containerstacks_shared.status.documents import Impact, IncidentKind
from containerstacks_shared.status.history import Span
from containerstacks_shared.status.incidents import Period
from containerstacks_web.live.history import History
from containerstacks_web.rendering.formats import NOT_KNOWN, day, number

from . import charts
from .charts import Band, Gap, Scale, Tick

_A_SECOND: Final = 1
_TWO_MINUTES: Final = 120
_DAY: Final = timedelta(days=1)


class ChartRange(StrEnum):
    """As addresses spell it: `/status?range=7d`."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"

    @classmethod
    def of(cls, request: web.Request) -> "ChartRange":
        """Return the range asked for; anything else is the first."""
        asked = request.query.get("range", "") if request.query_string else ""
        return cls(asked) if asked in _TITLES else cls.DAY

    @property
    def words(self) -> str:
        return _TITLES[self]

    @property
    def span(self) -> Span:
        return Span[self.name]


_TITLES: Final[Mapping[str, str]] = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
_LABEL_EVERY: Final = {
    Span.DAY: timedelta(hours=6),
    Span.WEEK: timedelta(days=1),
    Span.MONTH: timedelta(days=5),
    Span.QUARTER: timedelta(days=15),
}
_STEP_WORDS: Final = {
    timedelta(minutes=10): "10 minutes",
    timedelta(hours=1): "hour",
    timedelta(hours=6): "6 hours",
    _DAY: "day",
}


_BAND_KINDS: Final[Mapping[IncidentKind | Impact, str]] = {
    IncidentKind.MAINTENANCE: "maintenance",
    Impact.MINOR: "minor",
    Impact.MAJOR: "major",
    Impact.CRITICAL: "major",
}
# The rest stands in the history of incidents.
_INCIDENTS_MAX: Final = 5


@dataclass(frozen=True)
class Plot:
    """One picture: `unit` is what its levels count; `shapes` are drawn in this order, then `bands`, then `marks`."""

    unit: str
    steps: int
    levels: Sequence[Tick]
    times: Sequence[Tick]
    gaps: Sequence[Gap]
    shapes: Sequence[tuple[str, str]]
    marks: Sequence[str] = ()
    bands: Sequence[Band] = ()


@dataclass(frozen=True)
class Row:
    """A step in the table; `cells` is None where nothing is known. `incidents` are the titles of what was going on."""

    label: str
    cells: Sequence[str] | None
    incidents: str = ""


@dataclass(frozen=True)
class Shown:
    """What was going on within the range, and the kind of its band. `ended_at` is None while it goes on."""

    id: int
    kind: str
    title: str
    began_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class HistoryPage:
    """Everything was read at `as_of`. Rows are newest first; steps are in words, as in 'per hour'."""

    chosen: ChartRange
    as_of: datetime
    stale: bool
    vps: Plot
    errors: Plot
    vps_rows: Sequence[Row]
    vps_step: str
    billed: Plot
    durations: Plot
    run_rows: Sequence[Row]
    run_step: str
    incidents: Sequence[Shown]
    incidents_left_out: int


# A page is rendered every second, and a reading lasts a minute: each is drawn once per range.
@lru_cache(maxsize=len(ChartRange))
def present_history(history: History | None, chosen: ChartRange) -> HistoryPage | None:
    """Return None while nothing was read yet."""
    if history is None:
        return None
    span = chosen.span
    vps, runs = history.spans[span].vps, history.spans[span].runs
    run_times = charts.time_ticks([point.started_at for point in runs], _LABEL_EVERY[span])
    vps_times = charts.time_ticks([point.started_at for point in vps], _LABEL_EVERY[span])
    since = min((one[0].started_at for one in (vps, runs) if one), default=history.as_of)
    incidents = [
        _shown(period, history.as_of) for period in history.incidents if _end(period, history) > since
    ]
    vps_bands = _bands(incidents, vps, span.step)
    run_bands = _bands(incidents, runs, span.run_step)
    return HistoryPage(
        chosen=chosen,
        as_of=history.as_of,
        stale=history.stale,
        vps=replace(_vps_plot(vps, vps_times), bands=vps_bands),
        errors=replace(_errors_plot(vps, vps_times), bands=vps_bands),
        vps_rows=[_row(_vps_cells(point), point.started_at, span.step, incidents) for point in reversed(vps)],
        vps_step=_STEP_WORDS[span.step],
        billed=replace(_billed_plot(runs, run_times), bands=run_bands),
        durations=replace(_durations_plot(runs, run_times), bands=run_bands),
        run_rows=[
            _row(_run_cells(point), point.started_at, span.run_step, incidents) for point in reversed(runs)
        ],
        run_step=_STEP_WORDS[span.run_step],
        incidents=incidents[:_INCIDENTS_MAX],
        incidents_left_out=max(0, len(incidents) - _INCIDENTS_MAX),
    )


def _end(period: Period, history: History) -> datetime:
    return period.ended_at or history.as_of


def _shown(period: Period, now: datetime) -> Shown:
    is_over = period.ended_at is not None and period.ended_at <= now
    return Shown(
        id=period.id,
        kind=_BAND_KINDS[period.kind if period.kind is IncidentKind.MAINTENANCE else period.impact],
        title=period.title,
        began_at=period.began_at,
        ended_at=period.ended_at if is_over else None,
    )


def _bands(
    incidents: Sequence[Shown], points: Sequence[VpsHistoryPoint] | Sequence[RunHistoryPoint], step: timedelta
) -> Sequence[Band]:
    if not points:
        return []
    begins, whole = points[0].started_at, step * len(points)

    def share(moment: datetime | None) -> float:
        return 1 if moment is None else (moment - begins) / whole

    found = (charts.band(one.kind, begins=share(one.began_at), ends=share(one.ended_at)) for one in incidents)
    return [band for band in found if band is not None]


@dataclass(frozen=True)
class Sparkline:
    """The fleet of the last 30 days as one small shape, with its extremes in words."""

    steps: int
    shape: str
    least: str
    most: str


@lru_cache(maxsize=1)
def fleet_sparkline(history: History | None) -> Sparkline | None:
    """Return None while there is less than a day of it."""
    if history is None:
        return None
    totals = [_total(point) for point in history.spans[Span.MONTH].vps]
    known = [total for total in totals if total is not None]
    if len(known) * Span.MONTH.step < _DAY:
        return None
    shape = charts.silhouette(totals, charts.scale_for(totals))
    return Sparkline(len(totals), shape, number(min(known)), number(max(known)))


def duration(seconds: Decimal | None) -> str:
    """'450 ms', '12.5 s', '3.4 min'."""
    if seconds is None:
        return NOT_KNOWN
    factor, _, unit = _unit_of(seconds)
    return f"{number(seconds * factor)} {unit}"


def _plot(
    unit: str,
    values: Sequence[charts.Value],
    times: Sequence[Tick],
    draw: Callable[[Scale], Sequence[tuple[str, str]]],
) -> Plot:
    """Draw on a scale that reaches the largest of the values; where one is missing, there is a gap."""
    scale = charts.scale_for(values)
    return Plot(
        unit=unit,
        steps=len(values),
        levels=charts.level_ticks(scale),
        times=times,
        gaps=charts.gaps(values),
        shapes=draw(scale),
    )


def _vps_plot(points: Sequence[VpsHistoryPoint], times: Sequence[Tick]) -> Plot:
    series = {group.value: [getattr(point, group) for point in points] for group in VpsStatusGroup}
    totals = [_total(point) for point in points]
    return _plot("VPS", totals, times, lambda scale: charts.stacked(series, scale))


def _errors_plot(points: Sequence[VpsHistoryPoint], times: Sequence[Tick]) -> Plot:
    """On an axis of their own: beside a whole fleet they are slivers."""
    errors = [point.error if point.samples else None for point in points]
    shape = VpsStatusGroup.ERROR.value
    return _plot("VPS in error", errors, times, lambda scale: [(shape, charts.silhouette(errors, scale))])


def _billed_plot(points: Sequence[RunHistoryPoint], times: Sequence[Tick]) -> Plot:
    billed = [point.instances_billed if point.runs else None for point in points]
    plot = _plot("Instances billed", billed, times, lambda scale: [("billed", charts.bars(billed, scale))])
    return replace(plot, marks=charts.marks([point.failed for point in points]))


def _durations_plot(points: Sequence[RunHistoryPoint], times: Sequence[Tick]) -> Plot:
    longest = max((point.longest_seconds for point in points if point.longest_seconds), default=Decimal(0))
    factor, unit, _ = _unit_of(longest)
    values = [None if point.longest_seconds is None else point.longest_seconds * factor for point in points]
    return _plot(
        f"Longest run, {unit}", values, times, lambda scale: [("duration", charts.bars(values, scale))]
    )


def _unit_of(seconds: Decimal) -> tuple[Decimal, str, str]:
    """Choose how many of it make a second, its name, and its sign."""
    if seconds < _A_SECOND:
        return Decimal(1000), "milliseconds", "ms"
    if seconds < _TWO_MINUTES:
        return Decimal(1), "seconds", "s"
    return 1 / Decimal(60), "minutes", "min"


def _row(
    cells: Sequence[str] | None, started_at: datetime, step: timedelta, incidents: Sequence[Shown]
) -> Row:
    during = [
        one.title
        for one in incidents
        if one.began_at < started_at + step and (one.ended_at is None or one.ended_at > started_at)
    ]
    return Row(_step_label(started_at, step), cells, ", ".join(during))


def _vps_cells(point: VpsHistoryPoint) -> Sequence[str] | None:
    total = _total(point)
    return None if total is None else [number(amount) for amount in (total, *_amounts(point))]


def _run_cells(point: RunHistoryPoint) -> Sequence[str] | None:
    if not point.runs:
        return None
    counts = (point.instances_billed, point.runs, point.failed)
    return [*map(number, counts), duration(point.longest_seconds)]


def _amounts(point: VpsHistoryPoint) -> list[Decimal]:
    return [getattr(point, group) or Decimal(0) for group in VpsStatusGroup]


def _total(point: VpsHistoryPoint) -> Decimal | None:
    return sum(_amounts(point), Decimal(0)) if point.samples else None


def _step_label(moment: datetime, step: timedelta) -> str:
    return day(moment) if step >= _DAY else f"{day(moment)}, {moment.astimezone(UTC):%H:%M}"
