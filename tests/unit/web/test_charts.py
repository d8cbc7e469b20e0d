"""Shapes, scales and gaps of the charts."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from containerstacks_web.pages import charts
from containerstacks_web.pages.charts import HEIGHT, Scale

FOUR = Scale(4, [0, 1, 2, 3, 4])
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("largest", "levels"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (Decimal("1.2"), [0, 1, 2]),
        (4, [0, 1, 2, 3, 4]),
        (5, [0, 2, 4, 6]),
        (480, [0, 200, 400, 600]),
        (Decimal("800.01"), [0, 500, 1000]),
        (1_000_000, [0, 500_000, 1_000_000]),
    ],
)
def test_a_scale_has_few_round_levels_and_room_for_the_largest(
    largest: Decimal | int, levels: list[int]
) -> None:
    scale = charts.scale_to(largest)
    assert list(scale.levels) == levels
    assert scale.top == levels[-1]
    assert 0 <= scale.y(largest) <= HEIGHT


def test_levels_are_labelled_shortly_from_the_ground_up() -> None:
    ticks = charts.level_ticks(Scale(1_500_000, [0, 9_000, 12_500, 1_500_000]))
    assert [tick.label for tick in ticks] == ["0", "9,000", "12.5k", "1.5M"]
    assert [tick.at for tick in charts.level_ticks(FOUR)] == ["100%", "75%", "50%", "25%", "0%"]


def test_an_area_drops_to_zero_at_a_gap_instead_of_crossing_it() -> None:
    assert charts.silhouette([1, 1, 2, None, 4, 0], FOUR) == "M0 400V300H2V200H3V400M4 400V0H5V400H6V400"
    assert charts.silhouette([None, None], FOUR) == ""
    assert charts.silhouette([0], FOUR) == "M0 400V400H1V400"


def test_series_stand_on_each_other_and_what_is_always_zero_has_no_shape() -> None:
    shapes = charts.stacked({"running": [2, None], "stopped": [0, None], "error": [1, None]}, FOUR)
    assert shapes == [("error", "M0 400V100H1V400"), ("running", "M0 400V200H1V400")]


def test_a_bar_is_missing_where_nothing_is_known_and_flat_where_it_is_zero() -> None:
    assert charts.bars([4, None, 0], FOUR) == "M0.15 400V0h0.70V400M2.15 400V400h0.70V400"


def test_gaps_are_distinguished_from_zeros_and_a_wide_one_has_room_for_words() -> None:
    [first, last] = charts.gaps([None, None, 0, 1, 2, 3, 4, 5, 6, None])
    assert (first.x, first.width, first.middle, first.wide) == ("0%", "20%", "10%", True)
    assert (last.x, last.width, last.wide) == ("90%", "10%", False)
    assert charts.gaps([0, 0]) == []


def test_marks_stand_in_the_middle_of_their_steps() -> None:
    assert charts.marks([0, 2, 0, 1]) == ["37.5%", "87.5%"]


def test_round_hours_and_midnights_are_named() -> None:
    moments = [MIDNIGHT - timedelta(hours=7) + step * timedelta(hours=1) for step in range(24)]
    ticks = charts.time_ticks(moments, timedelta(hours=6))
    assert [(tick.label, tick.at) for tick in ticks] == [
        ("18:00", "4.17%"),
        ("23 Nov", "29.17%"),
        ("06:00", "54.17%"),
        ("12:00", "79.17%"),
    ]
    assert not any(tick.minor for tick in ticks)


def test_of_many_labels_every_second_one_can_go() -> None:
    days = [MIDNIGHT + step * timedelta(days=1) for step in range(7)]
    ticks = charts.time_ticks(days, timedelta(days=1))
    assert [tick.minor for tick in ticks] == [True, False] * 3 + [True]
