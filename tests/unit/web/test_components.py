"""The components in words."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from containerstacks_shared.status.documents import (
    Component,
    ComponentDay,
    ComponentReport,
    ComponentState,
    ComponentUptime,
    UptimeWindow,
)
from containerstacks_web.pages.components import bad_tenths, known_part, uptime_in_sight

HOUR, DAY = 60, 1440


@pytest.mark.parametrize(
    ("recorded", "total", "words"),
    [
        (1, DAY, "of 1 minute recorded"),
        (59, DAY, "of 59 minutes recorded"),
        (3 * HOUR + 59, DAY, "of 3 hours recorded"),
        (1, 90 * DAY, "of 1 minute recorded"),
        (2 * DAY - 1, 7 * DAY, "of 47 hours recorded"),
        (78 * DAY, 90 * DAY, "of 78 days recorded"),
        # The hour that has just begun is no gap, and neither is a minute between two aggregators.
        (7 * DAY - 59, 7 * DAY, ""),
        (DAY - 14, DAY, ""),
        (DAY - 15, DAY, "of 23 hours recorded"),
        (DAY, DAY, ""),
    ],
)
def test_an_uptime_says_how_much_of_its_window_is_known(recorded: int, total: int, words: str) -> None:
    uptime = ComponentUptime(
        window=UptimeWindow.DAY, percent=Decimal(100), recorded_minutes=recorded, total_minutes=total
    )
    assert known_part(uptime) == words


def test_where_there_is_no_uptime_nothing_is_said_of_it() -> None:
    uptime = ComponentUptime(window=UptimeWindow.DAY, percent=None, recorded_minutes=5, total_minutes=DAY)
    assert known_part(uptime) == ""


@pytest.mark.parametrize(
    ("minutes", "tenths"),
    [
        ({"operational": 1440}, ""),
        ({"operational": 1439, "down": 1}, "1"),
        ({"operational": 720, "degraded": 720}, "5"),
        ({"operational": 10, "down": 5, "degraded": 4, "maintenance": 1}, "5"),
        ({"down": 7}, "10"),
        ({}, ""),
    ],
)
def test_a_bar_is_coloured_by_the_share_of_its_bad_minutes(minutes: dict[str, int], tenths: str) -> None:
    day = ComponentDay(date=date(2026, 3, 14), state=ComponentState.DOWN, **minutes)
    assert bad_tenths(day) == tenths


@pytest.mark.parametrize(
    ("percent", "recorded", "words"),
    [
        (None, 0, "No data yet"),
        (Decimal(100), 123, "Collecting data since 19:57 UTC"),
        (Decimal("99.980"), DAY, "99.98% uptime"),
        (Decimal("100.000"), 90 * DAY, "100% uptime"),
    ],
)
def test_less_than_a_day_of_data_is_no_percentage(percent: Decimal | None, recorded: int, words: str) -> None:
    uptime = ComponentUptime(
        window=UptimeWindow.QUARTER, percent=percent, recorded_minutes=recorded, total_minutes=90 * DAY
    )
    report = ComponentReport(
        component=Component.WEB,
        name="Web",
        state=ComponentState.OPERATIONAL,
        because="",
        uptime=[uptime],
        days=[],
    )
    assert uptime_in_sight(report, datetime(2026, 3, 14, 22, 0, tzinfo=UTC)) == words
