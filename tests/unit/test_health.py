"""The table of what can be wrong, as cases: components, notices, alerts and verdict are views of it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest

from containerstacks_shared.alerts.conditions import OF_SERVICES, Delays, Details, find
from containerstacks_shared.alerts.records import LastAudit, LastRun
from containerstacks_shared.billing.control import Pause
from containerstacks_shared.billing.documents import ActiveBiller, DaemonState, DaemonStatus
from containerstacks_shared.billing.heartbeat import STALE_AFTER
from containerstacks_shared.billing.status import overdue_after
from containerstacks_shared.process.processes import StuckSession
from containerstacks_shared.status import health
from containerstacks_shared.status.component_rules import RULES, measure
from containerstacks_shared.status.documents import Component, ComponentState
from containerstacks_shared.status.health import CONDITIONS, AlertDelay, Facts, Kind, Severity
from containerstacks_web.admin.attention import Mood, notices
from containerstacks_web.pages.verdict import RULES as VERDICT_RULES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RUNNING = DaemonStatus(
    status=DaemonState.RUNNING,
    active_biller=ActiveBiller.DAEMON,
    is_stale=False,
    last_run_success=True,
    last_successful_run=NOW - 30 * MINUTE,
    warning_threshold_exceeded=False,
)
WELL = Facts(now=NOW, daemon=RUNNING, billing_interval=HOUR)
# An installation that has only the built-in biller: the daemon's own runs are overdue by definition.
NO_DAEMON = RUNNING.model_copy(
    update={
        "status": DaemonState.UNKNOWN,
        "active_biller": ActiveBiller.BUILTIN,
        "is_stale": True,
        "warning_threshold_exceeded": True,
    }
)
STOPPED = NO_DAEMON.model_copy(update={"status": DaemonState.STOPPED, "warning_threshold_exceeded": False})


def daemon(daemon_status: DaemonStatus = RUNNING, /, **changes: object) -> Facts:
    return replace(WELL, daemon=daemon_status.model_copy(update=changes))


CASES: list[tuple[str, Facts, set[Kind]]] = [
    ("all is well", WELL, set()),
    ("nobody bills", daemon(active_biller=ActiveBiller.NONE), {Kind.NOBODY_BILLS}),
    (
        "one biller stopped, and another takes over",
        daemon(active_biller=ActiveBiller.NONE, switching_over=True),
        {Kind.BILLING_SWITCHING_OVER},
    ),
    ("the last run failed", daemon(last_run_success=False), {Kind.RUN_FAILED}),
    ("no run has ended yet, but one has succeeded", daemon(last_run_success=None), set()),
    ("the daemon's own last run failed", daemon(status=DaemonState.ERROR), {Kind.DAEMON_FAILED}),
    ("paused", replace(WELL, billing_paused=True), {Kind.BILLING_PAUSED}),
    (
        "paused for long, which makes nothing overdue",
        replace(daemon(last_successful_run=NOW - 9 * HOUR), billing_paused=True),
        {Kind.BILLING_PAUSED},
    ),
    ("billed 90 minutes ago", daemon(last_successful_run=NOW - 90 * MINUTE), set()),
    ("billed 91 minutes ago", daemon(last_successful_run=NOW - 91 * MINUTE), {Kind.BILLING_OVERDUE}),
    ("never billed", daemon(last_successful_run=None), {Kind.BILLING_OVERDUE}),
    (
        "billed 3 hours ago, every 4",
        replace(daemon(last_successful_run=NOW - 3 * HOUR), billing_interval=4 * HOUR),
        set(),
    ),
    (
        "billed 31 minutes late, every 4 hours",
        replace(daemon(last_successful_run=NOW - 4 * HOUR - 31 * MINUTE), billing_interval=4 * HOUR),
        {Kind.BILLING_OVERDUE},
    ),
    ("there never was a daemon", daemon(NO_DAEMON), set()),
    (
        "there never was a daemon, and the built-in biller is late",
        daemon(NO_DAEMON, last_successful_run=NOW - 2 * HOUR),
        {Kind.BILLING_OVERDUE},
    ),
    ("the daemon stopped a moment ago", daemon(STOPPED), {Kind.DAEMON_DOWN}),
    (
        "the daemon stopped long ago, and the built-in biller is on schedule",
        daemon(STOPPED, warning_threshold_exceeded=True),
        {Kind.DAEMON_DOWN, Kind.DAEMON_OVERDUE},
    ),
    ("no VPS in error", replace(WELL, vps_total=100), set()),
    ("4 of 100 in error", replace(WELL, vps_total=100, vps_error=4), set()),
    ("5 of 100 in error", replace(WELL, vps_total=100, vps_error=5), {Kind.VPS_ELEVATED_ERRORS}),
    ("24 of 100 in error", replace(WELL, vps_total=100, vps_error=24), {Kind.VPS_ELEVATED_ERRORS}),
    (
        "the only one in error",
        replace(WELL, vps_total=1, vps_error=1),
        {Kind.VPS_WIDESPREAD_ERRORS, Kind.VPS_ELEVATED_ERRORS},
    ),
    ("10 seconds behind", replace(WELL, counts_behind=timedelta(seconds=10)), set()),
    ("11 seconds behind", replace(WELL, counts_behind=timedelta(seconds=11)), {Kind.COUNTS_BEHIND}),
    ("no aggregator", replace(WELL, aggregator_leads=False), {Kind.COUNTS_BEHIND}),
    (
        "61 seconds behind",
        replace(WELL, counts_behind=timedelta(seconds=61)),
        {Kind.COUNTS_FAR_BEHIND, Kind.COUNTS_BEHIND},
    ),
    ("the database answers late", replace(WELL, database_seconds=1.1), {Kind.DATABASE_SLOW}),
    ("the database does not answer", replace(WELL, database_answers=False), {Kind.DATABASE_DOWN}),
    ("no web process", replace(WELL, web_connected=False), {Kind.WEB_DOWN}),
    ("damage", replace(WELL, audit_findings=1), {Kind.DAMAGE_FOUND}),
    ("never audited", replace(WELL, audit_findings=None), {Kind.NEVER_AUDITED}),
    ("stalled", replace(WELL, billing_stalled=True), {Kind.BILLING_STALLED}),
    (
        "a session that stands still",
        replace(WELL, stuck_session=StuckSession(7, "containerstacks-web", NOW)),
        {Kind.SESSION_STUCK},
    ),
    ("an application that was upgraded", replace(WELL, schema_changed=True), {Kind.SCHEMA_CHANGED}),
    ("an application that bills", replace(WELL, application_refused=True), {Kind.APPLICATION_BILLS}),
    ("one in which the guard intervened", replace(WELL, guard_intervened=True), {Kind.GUARD_INTERVENED}),
    ("a held price", replace(WELL, price_holds=1), {Kind.PRICE_HELD}),
    ("a debt", replace(WELL, debts_open=1), {Kind.DEBTS_OPEN}),
    ("a plan that cannot be read", replace(WELL, plans_unreadable=1), {Kind.PLANS_UNREADABLE}),
    ("a low balance", replace(WELL, low_balances=1), {Kind.LOW_BALANCE}),
]
FACTS = [pytest.param(facts, kinds, id=name) for name, facts, kinds in CASES]


@pytest.mark.parametrize(("facts", "kinds"), FACTS)
def test_the_conditions_that_hold_are_found(facts: Facts, kinds: set[Kind]) -> None:
    assert {condition.kind for condition in health.find(facts)} == kinds


def test_the_table_has_every_kind_once_and_every_kind_has_a_case() -> None:
    assert [condition.kind for condition in CONDITIONS] == list(dict.fromkeys(c.kind for c in CONDITIONS))
    assert {condition.kind for condition in CONDITIONS} == set(Kind)
    assert set().union(*(kinds for _, _, kinds in CASES)) == set(Kind)


@pytest.mark.parametrize(("facts", "kinds"), FACTS)
def test_each_component_is_as_bad_as_the_worst_that_is_wrong_with_it(facts: Facts, kinds: set[Kind]) -> None:
    for component in Component:
        states = {c.state for c in CONDITIONS if c.kind in kinds and c.component is component}
        worst = next(
            (state for state in (ComponentState.DOWN, ComponentState.DEGRADED) if state in states),
            ComponentState.OPERATIONAL,
        )
        finding = measure(component, facts)
        assert finding.state is worst
        assert finding in RULES[component]


@pytest.mark.parametrize(("facts", "kinds"), FACTS)
def test_administrators_are_notified_of_what_has_a_severity_the_critical_first(
    facts: Facts, kinds: set[Kind]
) -> None:
    found = notices(facts)
    moods = {Severity.CRITICAL: Mood.PROBLEM, Severity.WARNING: Mood.ATTENTION}
    expected = {(moods[c.severity], c.sentence) for c in CONDITIONS if c.kind in kinds and c.severity}
    assert {(notice.mood, notice.sentence) for notice in found if notice.mood is not Mood.OK} == expected
    assert [notice.mood for notice in found] == sorted(
        (notice.mood for notice in found), key=[Mood.PROBLEM, Mood.ATTENTION, Mood.OK].index
    )
    assert found


@pytest.mark.parametrize(("facts", "kinds"), FACTS)
def test_alerts_are_about_what_has_a_delay(facts: Facts, kinds: set[Kind]) -> None:
    details = Details(
        pause=Pause(paused=facts.billing_paused, reason="a test", changed_by="somebody", changed_at=NOW),
        last_run=LastRun(1, "daemon", "failed", "disk full"),
        last_audit=LastAudit(1, NOW, facts.audit_findings or 0),
        waiting=[],
    )
    delays = Delays(service=5 * MINUTE, pause=2 * HOUR, first_run=90 * MINUTE)
    alerted = {Kind(condition.kind) for condition in find(facts, details, delays)}
    # A held price has an alert for each plan that waits, and none waits here.
    assert alerted == (kinds & OF_SERVICES) - {Kind.PRICE_HELD}


def test_a_run_that_was_interrupted_is_no_alert() -> None:
    facts = daemon(last_run_success=False)
    pause = Pause(paused=False, reason=None, changed_by=None, changed_at=NOW)
    details = Details(pause, LastRun(1, "daemon", "interrupted", None), None, [])
    assert find(facts, details, Delays(MINUTE, MINUTE, MINUTE)) == []


@pytest.mark.parametrize(
    ("succeeded_at", "delay"), [(None, 90 * MINUTE), (NOW - 5 * HOUR, timedelta(0))], ids=["never", "once"]
)
def test_a_fresh_installation_has_the_time_of_a_run(succeeded_at: datetime | None, delay: timedelta) -> None:
    delays = Delays(service=MINUTE, pause=MINUTE, first_run=90 * MINUTE)
    assert delays.before(AlertDelay.FIRST_RUN, daemon(last_successful_run=succeeded_at)) == delay


@pytest.mark.parametrize(("minutes", "bound"), [(1, 90), (60, 90), (61, 91), (240, 270)])
def test_overdue_is_ninety_minutes_or_half_an_hour_beyond_the_interval(minutes: int, bound: int) -> None:
    assert overdue_after(minutes * MINUTE) == bound * MINUTE


def test_the_headlines_of_the_page_are_the_titles_of_the_table() -> None:
    headlines = {(rule.headline, rule.because) for rule in VERDICT_RULES}
    shown = {
        Kind.NOBODY_BILLS,
        Kind.BILLING_SWITCHING_OVER,
        Kind.BILLING_PAUSED,
        Kind.RUN_FAILED,
        Kind.DAEMON_FAILED,
        Kind.DAEMON_OVERDUE,
        Kind.VPS_WIDESPREAD_ERRORS,
        Kind.VPS_ELEVATED_ERRORS,
    }
    assert {(c.title, c.sentence) for c in CONDITIONS if c.kind in shown} <= headlines


def test_an_open_page_expects_another_biller_for_as_long_as_the_server_does() -> None:
    script = files("containerstacks_web").joinpath("static/js/live.js").read_text("utf-8")
    (milliseconds,) = re.findall(r"^const SWITCHING_OVER = ([0-9_]+);$", script, re.MULTILINE)
    assert timedelta(milliseconds=int(milliseconds)) == STALE_AFTER
