"""The components in words."""

from decimal import Decimal

import pytest

from containerstacks_shared.status.documents import ComponentUptime, UptimeWindow
from containerstacks_web.pages.components import known_part

HOUR, DAY = 60, 1440


@pytest.mark.parametrize(
    ("recorded", "total", "words"),
    [
        (1, DAY, "of 1 minute known"),
        (59, DAY, "of 59 minutes known"),
        (3 * HOUR + 59, DAY, "of 3 hours known"),
        (1, 90 * DAY, "of 1 minute known"),
        (2 * DAY - 1, 7 * DAY, "of 47 hours known"),
        (78 * DAY, 90 * DAY, "of 78 days known"),
        # The hour that has just begun is no gap, and neither is a minute between two aggregators.
        (7 * DAY - 59, 7 * DAY, ""),
        (DAY - 14, DAY, ""),
        (DAY - 15, DAY, "of 23 hours known"),
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
