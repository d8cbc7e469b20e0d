"""What incidents and maintenance make of a component, the formula of uptime, and the document that prints the rules."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from containerstacks_shared.status import component_rules
from containerstacks_shared.status.component_rules import NO_DATA, RULES, Finding
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
        (StateMinutes(operational=2, down=1), Decimal("66.666"), DOWN),
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
    assert set(RULES) == set(Component)
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
