"""What was read of the daemon, told later: it grows old by itself."""

from datetime import UTC, datetime, timedelta

import pytest

from containerstacks_shared.billing.documents import ActiveBiller, Biller, DaemonState, DaemonStatus
from containerstacks_shared.billing.heartbeat import STALE_AFTER
from containerstacks_shared.billing.status import DaemonReading

SECOND = timedelta(seconds=1)
RUN_AT = datetime(2026, 11, 29, tzinfo=UTC)
RUNNING = DaemonStatus(
    status=DaemonState.RUNNING,
    last_run=RUN_AT,
    last_run_by=Biller.DAEMON,
    last_successful_run=RUN_AT,
    last_run_success=True,
    instances_billed=7,
    next_scheduled_run=RUN_AT + timedelta(hours=1),
    uptime_minutes=12,
    is_stale=False,
    warning_threshold_exceeded=False,
    active_biller=ActiveBiller.DAEMON,
)
READING = DaemonReading(RUNNING, warns_in=timedelta(minutes=30))


def test_a_reading_of_the_daemon_holds_for_ten_seconds() -> None:
    assert READING.after(STALE_AFTER) == RUNNING


def test_after_ten_seconds_no_biller_is_known_to_be_alive_and_the_last_run_stays() -> None:
    later = READING.after(STALE_AFTER + SECOND)
    assert later == RUNNING.model_copy(
        update={
            "status": DaemonState.STOPPED,
            "is_stale": True,
            "active_biller": ActiveBiller.NONE,
            "next_scheduled_run": None,
            "uptime_minutes": None,
        }
    )


@pytest.mark.parametrize(
    ("warns_in", "age", "warns"),
    [
        (timedelta(minutes=30), timedelta(minutes=30), False),
        (timedelta(minutes=30), timedelta(minutes=30) + SECOND, True),
        (timedelta(0), timedelta(0), False),
        (None, timedelta(0), True),
    ],
)
def test_a_success_grows_too_old(warns_in: timedelta | None, age: timedelta, warns: bool) -> None:
    assert DaemonReading(RUNNING, warns_in).after(age).warning_threshold_exceeded is warns


def test_switching_over_ends_after_ten_seconds() -> None:
    between = RUNNING.model_copy(update={"active_biller": ActiveBiller.NONE, "switching_over": True})
    assert DaemonReading(between).after(STALE_AFTER).switching_over
    assert not DaemonReading(between).after(STALE_AFTER + SECOND).switching_over


def test_a_daemon_that_was_never_seen_is_not_called_stopped() -> None:
    assert DaemonReading(DaemonStatus()).after(timedelta(hours=1)) == DaemonStatus()
