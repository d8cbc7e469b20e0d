"""What needs an administrator, as a table of cases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from containerstacks_shared.billing.documents import ActiveBiller, AuditSummary, DaemonDetails
from containerstacks_web.admin.attention import Facts, Mood, alerts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=5)
CLEAN = AuditSummary(finished_at=NOW, full=True, findings=0, inherited=0)
WELL = DaemonDetails(active_biller=ActiveBiller.DAEMON, last_run_success=True, audit=CLEAN)
FACTS = Facts(
    WELL, is_stalled=False, paused=False, held_plans=0, open_debts=0, lag_since=None, broken_specifications=0
)


def with_daemon(**changes: object) -> Facts:
    return replace(FACTS, daemon=WELL.model_copy(update=changes))


@pytest.mark.parametrize(
    ("facts", "mood", "words"),
    [
        (FACTS, Mood.OK, "Nothing needs you"),
        (with_daemon(active_biller=ActiveBiller.NONE), Mood.PROBLEM, "Nobody bills"),
        (with_daemon(last_run_success=False), Mood.PROBLEM, "did not succeed"),
        (with_daemon(audit=CLEAN.model_copy(update={"findings": 1})), Mood.PROBLEM, "money is not right"),
        (replace(FACTS, is_stalled=True), Mood.PROBLEM, "are not billed"),
        # Hours that wait for money are debts, and stall nothing.
        (with_daemon(oldest_unbilled_hour=LONG_AGO, hours_owed=3, hours_unpaid=2), Mood.OK, "Nothing"),
        (replace(FACTS, lag_since=LONG_AGO), Mood.PROBLEM, "does not keep up"),
        (replace(FACTS, lag_since=NOW - timedelta(seconds=1)), Mood.OK, "Nothing"),
        (replace(FACTS, paused=True), Mood.ATTENTION, "paused"),
        (replace(FACTS, held_plans=1), Mood.ATTENTION, "held back"),
        (replace(FACTS, open_debts=1), Mood.ATTENTION, "in debt"),
        (replace(FACTS, broken_specifications=1), Mood.ATTENTION, "cannot be read"),
        (with_daemon(active_biller=ActiveBiller.BUILTIN), Mood.ATTENTION, "web process bills"),
        (with_daemon(audit=None), Mood.ATTENTION, "never audited"),
    ],
)
def test_one_thing_at_a_time_is_said_in_words(facts: Facts, mood: Mood, words: str) -> None:
    (alert,) = alerts(facts, now=NOW)
    assert alert.mood is mood
    assert words in alert.sentence


def test_the_worst_comes_first() -> None:
    facts = replace(with_daemon(active_biller=ActiveBiller.NONE), paused=True)
    assert [alert.mood for alert in alerts(facts, now=NOW)] == [Mood.PROBLEM, Mood.ATTENTION]
