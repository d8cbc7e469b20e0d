"""The history as the page shows it: the range asked for, and what is not known told from what is zero."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from aiohttp.test_utils import make_mocked_request

from containerstacks_shared.billing.documents import RunHistoryPoint
from containerstacks_shared.fleet.vps import VpsHistoryPoint
from containerstacks_shared.status.documents import Impact, IncidentId, IncidentKind
from containerstacks_shared.status.history import Span
from containerstacks_shared.status.incidents import Period
from containerstacks_web.live.history import History, SpanHistory
from containerstacks_web.pages.history import ChartRange, duration, fleet_sparkline, present_history

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)


def vps(samples: int, running: int | None = None) -> VpsHistoryPoint:
    amount = None if running is None else Decimal(running)
    none = None if running is None else Decimal(0)
    return VpsHistoryPoint(
        started_at=NOW,
        samples=samples,
        running=amount,
        stopped=none,
        provisioning=none,
        rebooting=none,
        error=none,
        other=none,
    )


def run(runs: int, *, failed: int = 0, billed: int = 0, longest: str | None = None) -> RunHistoryPoint:
    return RunHistoryPoint(
        started_at=NOW + timedelta(minutes=40),
        runs=runs,
        failed=failed,
        instances_billed=billed,
        longest_seconds=None if longest is None else Decimal(longest),
    )


def history(*, points: list[VpsHistoryPoint], runs: list[RunHistoryPoint]) -> History:
    return History(NOW, dict.fromkeys(Span, SpanHistory(points, runs)))


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("", "24h"),
        ("?range=7d", "7d"),
        ("?range=90d&other=1", "90d"),
        ("?range=", "24h"),
        ("?range=1y", "24h"),
        ("?range=%00%ff", "24h"),
        ("?other", "24h"),
    ],
)
def test_only_the_four_ranges_are_known(query: str, chosen: str) -> None:
    assert ChartRange.of(make_mocked_request("GET", f"/status{query}")) == chosen


def test_every_range_has_its_span() -> None:
    assert [chosen.span.length.days for chosen in ChartRange] == [1, 7, 30, 90]


def test_nothing_read_is_nothing_to_show() -> None:
    assert present_history(None, ChartRange.DAY) is None


def test_a_step_without_samples_is_a_gap_and_one_with_an_empty_fleet_is_not() -> None:
    page = present_history(history(points=[vps(0), vps(10, 0), vps(10, 3)], runs=[]), ChartRange.DAY)
    assert page is not None
    assert [(gap.x, gap.width) for gap in page.vps.gaps] == [("0%", "33.33%")]
    assert [row.cells and row.cells[:2] for row in page.vps_rows] == [["3", "3"], ["0", "0"], None]
    assert page.vps_rows[0].label == "23 Nov, 06:00"


def test_a_step_without_a_run_is_a_gap_and_one_with_nothing_due_is_not() -> None:
    steps = [run(0), run(1, longest="0.25"), run(2, failed=1, billed=12, longest="0.5"), run(1)]
    page = present_history(history(points=[], runs=steps), ChartRange.DAY)
    assert page is not None
    assert [gap.x for gap in page.billed.gaps] == ["0%"]
    assert page.billed.marks == ["62.5%"]
    # The last one still runs: nobody knows how long it takes.
    assert [gap.x for gap in page.durations.gaps] == ["0%", "75%"]
    assert page.durations.unit == "Longest run, milliseconds"
    assert [row.cells for row in page.run_rows] == [
        ["0", "1", "0", "–"],  # noqa: RUF001
        ["12", "2", "1", "500 ms"],
        ["0", "1", "0", "250 ms"],
        None,
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [("0.45", "450 ms"), ("1", "1 s"), ("12.54", "12.5 s"), ("204", "3.4 min")]
)
def test_durations_have_a_unit_that_fits(seconds: str, words: str) -> None:
    assert duration(Decimal(seconds)) == words


def test_errors_have_an_axis_of_their_own() -> None:
    points = [vps(1, 400), vps(1, 400).model_copy(update={"error": Decimal(3)}), vps(0)]
    page = present_history(history(points=points, runs=[]), ChartRange.DAY)
    assert page is not None
    assert [tick.label for tick in page.errors.levels] == ["0", "1", "2", "3"]
    assert [tick.label for tick in page.vps.levels][-1] == "600"
    assert len(page.errors.gaps) == 1
    assert (page.vps.unit, page.errors.unit) == ("VPS", "VPS in error")


def test_the_fleet_has_a_line_once_there_is_a_day_of_it() -> None:
    assert fleet_sparkline(None) is None
    few = history(points=[vps(1, 4)] * 3 + [vps(0)] * 117, runs=[])
    assert fleet_sparkline(few) is None
    line = fleet_sparkline(history(points=[vps(1, 4), vps(1, 9)] * 60, runs=[]))
    assert line is not None
    assert (line.steps, line.least, line.most) == (120, "4", "9")


def period(
    title: str, *, begins: timedelta, ends: timedelta | None, kind: IncidentKind = IncidentKind.INCIDENT
) -> Period:
    ended_at = None if ends is None else NOW + ends
    return Period(IncidentId(1), kind, title, Impact.MAJOR, NOW + begins, ended_at)


def test_what_was_going_on_is_a_band_across_its_steps() -> None:
    minutes = timedelta(minutes=1)
    points = [vps(1, 4).model_copy(update={"started_at": NOW + step * Span.DAY.step}) for step in range(4)]
    periods = [
        period("open", begins=25 * minutes, ends=None),
        period("over", begins=-60 * minutes, ends=10 * minutes),
        period("short", begins=15 * minutes, ends=15 * minutes + timedelta(seconds=1)),
        period("before", begins=-60 * minutes, ends=-5 * minutes),
        period("planned", begins=10 * minutes, ends=20 * minutes, kind=IncidentKind.MAINTENANCE),
    ]
    drawn = dict.fromkeys(Span, SpanHistory(points, []))
    page = present_history(History(NOW + 40 * minutes, drawn, incidents=periods), ChartRange.DAY)
    assert page is not None
    assert [(band.kind, band.x, band.width) for band in page.vps.bands] == [
        ("major", "62.5%", "37.5%"),
        ("major", "0%", "25%"),
        ("major", "37.5%", "0.5%"),
        ("maintenance", "25%", "25%"),
    ]
    assert page.errors.bands == page.vps.bands
    assert page.billed.bands == []
    assert [row.incidents for row in page.vps_rows] == ["open", "open", "short, planned", "over"]
    assert [(one.title, one.ended_at is None) for one in page.incidents] == [
        ("open", True),
        ("over", False),
        ("short", False),
        ("planned", False),
    ]
