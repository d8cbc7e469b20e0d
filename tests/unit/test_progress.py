"""A beating heart is not enough: hours that wait for nobody but the biller make it unhealthy."""

from datetime import UTC, datetime, timedelta

import pytest

from containerstacks_shared.billing.owed_hours import OwedHours
from containerstacks_shared.billing.progress import Progress, patience, progress_is_healthy

EIGHT = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stalled_since", "paused", "run_is_under_way", "healthy"),
    [
        (None, False, False, True),
        (None, True, True, True),
        (EIGHT, False, False, False),
        (EIGHT, True, False, True),
        (EIGHT, False, True, True),
    ],
)
def test_a_stall_without_a_pause_or_a_run_is_unhealthy(
    stalled_since: datetime | None, *, paused: bool, run_is_under_way: bool, healthy: bool
) -> None:
    progress = Progress(
        owed=OwedHours(hours=7, since=EIGHT, hours_unpaid=2, unpaid_since=EIGHT, read_at=EIGHT),
        stalled_since=stalled_since,
        paused=paused,
        run_is_under_way=run_is_under_way,
    )
    assert progress_is_healthy(progress) is healthy


def test_two_runs_may_be_missed_and_a_little_more() -> None:
    assert patience(timedelta(hours=1)) == timedelta(hours=2, minutes=10)
    assert patience(timedelta(minutes=1)) == timedelta(minutes=12)
