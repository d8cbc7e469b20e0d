"""What makes a component operational, degraded or down: the rules as a table, and the formula."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from containerstacks_shared.billing.documents import ActiveBiller
from containerstacks_shared.status import component_rules
from containerstacks_shared.status.component_rules import NO_DATA, RULES, Facts, Finding, measure
from containerstacks_shared.status.documents import (
    Component,
    ComponentState,
    Impact,
    Incident,
    IncidentKind,
    IncidentStatus,
    StateMinutes,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OPERATIONAL, DEGRADED, DOWN, MAINTENANCE = (
    ComponentState.OPERATIONAL,
    ComponentState.DEGRADED,
    ComponentState.DOWN,
    ComponentState.MAINTENANCE,
)


def billing(**facts: object) -> Facts:
    well: dict[str, object] = {
        "active_biller": ActiveBiller.DAEMON,
        "last_run_success": True,
        "billing_age": timedelta(minutes=30),
    }
    return Facts(**(well | facts))  # type: ignore[arg-type]


CASES = [
    ("no VPS at all", Component.VPS, Facts(), OPERATIONAL),
    ("4 of 100 in error", Component.VPS, Facts(vps_total=100, vps_error=4), OPERATIONAL),
    ("5 of 100 in error", Component.VPS, Facts(vps_total=100, vps_error=5), DEGRADED),
    ("24 of 100 in error", Component.VPS, Facts(vps_total=100, vps_error=24), DEGRADED),
    ("25 of 100 in error", Component.VPS, Facts(vps_total=100, vps_error=25), DOWN),
    ("the only one in error", Component.VPS, Facts(vps_total=1, vps_error=1), DOWN),
    ("nobody bills", Component.BILLING, billing(active_biller=ActiveBiller.NONE), DOWN),
    ("the daemon bills", Component.BILLING, billing(), OPERATIONAL),
    ("the built-in bills", Component.BILLING, billing(active_biller=ActiveBiller.BUILTIN), OPERATIONAL),
    ("paused", Component.BILLING, billing(billing_paused=True), DEGRADED),
    ("the last run failed", Component.BILLING, billing(last_run_success=False), DEGRADED),
    ("never billed", Component.BILLING, billing(last_run_success=None, billing_age=None), DEGRADED),
    ("billed 90 minutes ago", Component.BILLING, billing(billing_age=timedelta(minutes=90)), OPERATIONAL),
    ("billed 91 minutes ago", Component.BILLING, billing(billing_age=timedelta(minutes=91)), DEGRADED),
    (
        "billed 3 hours ago, every 4",
        Component.BILLING,
        billing(billing_age=timedelta(hours=3), billing_interval=timedelta(hours=4)),
        OPERATIONAL,
    ),
    (
        "billed 31 minutes late, every 4",
        Component.BILLING,
        billing(billing_age=timedelta(hours=4, minutes=31), billing_interval=timedelta(hours=4)),
        DEGRADED,
    ),
    ("10 seconds behind", Component.LIVE_DATA, Facts(counts_behind=timedelta(seconds=10)), OPERATIONAL),
    ("11 seconds behind", Component.LIVE_DATA, Facts(counts_behind=timedelta(seconds=11)), DEGRADED),
    ("61 seconds behind", Component.LIVE_DATA, Facts(counts_behind=timedelta(seconds=61)), DOWN),
    ("answers at once", Component.DATABASE, Facts(database_seconds=0.2), OPERATIONAL),
    ("answers late", Component.DATABASE, Facts(database_seconds=1.1), DEGRADED),
    ("does not answer", Component.DATABASE, Facts(database_answers=False), DOWN),
    ("connected", Component.WEB, Facts(web_connected=True), OPERATIONAL),
    ("not connected", Component.WEB, Facts(web_connected=False), DOWN),
]


def incident(
    *,
    impact: Impact = Impact.NONE,
    status: IncidentStatus = IncidentStatus.INVESTIGATING,
    component: Component = Component.VPS,
) -> Incident:
    is_maintenance = status in {IncidentStatus.SCHEDULED, IncidentStatus.IN_PROGRESS}
    return Incident(
        id=1,
        kind=IncidentKind.MAINTENANCE if is_maintenance else IncidentKind.INCIDENT,
        title="Disks",
        impact=impact,
        status=status,
        components=[component],
        created_at=NOW,
        updated_at=NOW,
        updates=[],
    )


@pytest.mark.parametrize(("component", "facts", "state"), [pytest.param(*c[1:], id=c[0]) for c in CASES])
def test_the_first_rule_that_applies_decides(
    component: Component, facts: Facts, state: ComponentState
) -> None:
    assert measure(component, facts).state is state


def test_every_rule_decides_some_case_and_the_last_one_always_applies() -> None:
    decided = {(component, measure(component, facts).because) for _, component, facts, _ in CASES}
    assert decided == {(component, rule.because) for component in RULES for rule in RULES[component]}
    assert set(RULES) == set(Component)


@pytest.mark.parametrize(
    ("measured", "said", "state"),
    [
        (OPERATIONAL, [], OPERATIONAL),
        (OPERATIONAL, [incident(impact=Impact.NONE)], OPERATIONAL),
        (OPERATIONAL, [incident(impact=Impact.MINOR)], DEGRADED),
        (OPERATIONAL, [incident(impact=Impact.MINOR), incident(impact=Impact.CRITICAL)], DOWN),
        (OPERATIONAL, [incident(impact=Impact.MAJOR, component=Component.WEB)], OPERATIONAL),
        (OPERATIONAL, [incident(impact=Impact.MAJOR, status=IncidentStatus.RESOLVED)], OPERATIONAL),
        (DOWN, [incident(impact=Impact.MINOR)], DOWN),
        (DOWN, [incident(status=IncidentStatus.IN_PROGRESS)], MAINTENANCE),
        (OPERATIONAL, [incident(status=IncidentStatus.SCHEDULED)], OPERATIONAL),
        (
            OPERATIONAL,
            [incident(impact=Impact.MAJOR), incident(status=IncidentStatus.IN_PROGRESS)],
            MAINTENANCE,
        ),
        (ComponentState.NO_DATA, [incident(impact=Impact.NONE)], ComponentState.NO_DATA),
        (ComponentState.NO_DATA, [incident(impact=Impact.MINOR)], DEGRADED),
    ],
)
def test_maintenance_replaces_what_is_measured_and_incidents_make_it_worse(
    measured: ComponentState, said: list[Incident], state: ComponentState
) -> None:
    finding = component_rules.overrule(Component.VPS, Finding(measured, "as measured"), said)
    assert finding.state is state
    assert (finding.because == "as measured") == (state is measured)


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ([], ComponentState.NO_DATA),
        ([OPERATIONAL, OPERATIONAL], OPERATIONAL),
        ([OPERATIONAL, MAINTENANCE], MAINTENANCE),
        ([MAINTENANCE, ComponentState.NO_DATA], ComponentState.NO_DATA),
        ([ComponentState.NO_DATA, DEGRADED], DEGRADED),
        ([DEGRADED, DOWN, OPERATIONAL], DOWN),
    ],
)
def test_the_worst_component_speaks_for_all(states: list[ComponentState], worst: ComponentState) -> None:
    assert component_rules.overall(states) is worst


@pytest.mark.parametrize(
    ("minutes", "percent", "state"),
    [
        (StateMinutes(), None, ComponentState.NO_DATA),
        (StateMinutes(maintenance=60), None, MAINTENANCE),
        (StateMinutes(operational=60), Decimal(100), OPERATIONAL),
        (StateMinutes(operational=30, degraded=30), Decimal(100), DEGRADED),
        (StateMinutes(operational=3, down=1, maintenance=50), Decimal(75), DOWN),
        (StateMinutes(operational=129_599, down=1), Decimal("99.999"), DOWN),
        (StateMinutes(down=2), Decimal(0), DOWN),
    ],
)
def test_uptime_leaves_out_what_is_planned_or_unknown(
    minutes: StateMinutes, percent: Decimal | None, state: ComponentState
) -> None:
    assert component_rules.uptime_percent(minutes) == percent
    assert component_rules.state_of_day(minutes) is state


def test_the_document_prints_the_rules_that_decide() -> None:
    text = (Path(__file__).parents[2] / "docs" / "status-rules.md").read_text(encoding="utf-8")
    for component, rules in RULES.items():
        rows = [f"| {number} | {rule.because} | {rule.state} |" for number, rule in enumerate(rules, start=1)]
        assert (
            "\n".join([f"### {component.title}", "", "| | when | state |", "| --- | --- | --- |", *rows])
            in text
        )
    for impact, state in component_rules.IMPACT_STATES.items():
        assert f"| {impact} | {'as measured' if state is OPERATIONAL else state} |" in text
    for sentence in (component_rules.UPTIME_FORMULA, component_rules.UPTIME_NOTE, component_rules.DAY_NOTE):
        assert sentence in " ".join(text.split())
    assert NO_DATA.because in " ".join(text.split())
