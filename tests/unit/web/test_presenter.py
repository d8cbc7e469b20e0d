"""What the templates get."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from containerstacks_shared.billing.control import BillingControl
from containerstacks_shared.billing.documents import ActiveBiller, DaemonDetails, DaemonState, DaemonStatus
from containerstacks_shared.billing.status import DaemonReading
from containerstacks_shared.fleet.platform import PlatformStatistics, Total
from containerstacks_shared.fleet.vps import (
    InvalidSpecification,
    VpsDetails,
    VpsPlanCount,
    VpsRegionCount,
    VpsResources,
    VpsStatistics,
    VpsStatusCounts,
)
from containerstacks_web.live.messages import StatusMessage
from containerstacks_web.live.snapshot import StatusSnapshot
from containerstacks_web.pages.presenter import present_about, present_status
from containerstacks_web.pages.verdict import Verdict
from containerstacks_web.rendering.details import present_details

NOW = datetime(2026, 11, 23, 6, 46, 12, tzinfo=UTC)


def snapshot(**by_status: int) -> StatusSnapshot:
    counts = VpsStatusCounts(**by_status)
    vps = VpsStatistics(
        total=counts.total,
        by_status=counts,
        resources=VpsResources(total_vcpus=Decimal(4), total_memory_gb=Decimal("2.5")),
    )
    daemon = DaemonStatus(
        status=DaemonState.RUNNING,
        is_stale=False,
        warning_threshold_exceeded=False,
        active_biller=ActiveBiller.DAEMON,
    )
    message = StatusMessage(version=1, timestamp=NOW, vps=vps, daemon=daemon)
    return StatusSnapshot(
        version=1,
        timestamp=NOW,
        vps=vps,
        billing=DaemonReading(daemon),
        taken=0.0,
        message=message.model_dump_json().encode(),
    )


def test_templates_find_the_values_of_the_socket_by_the_same_paths() -> None:
    taken = snapshot(running=3, error=1)
    page = present_status(taken, age_seconds=0.0, now=NOW)
    sent = StatusMessage.model_validate_json(taken.message).model_dump(mode="json")
    assert page.facts["vps"] == sent["vps"]
    assert page.facts["daemon"] == sent["daemon"]
    assert page.value("vps.byStatus.running") == 3
    assert page.value("vps.resources.totalMemoryGB") == 2.5
    assert page.case("daemon.warningThresholdExceeded") == "false"
    assert page.case("daemon.lastRun") == ""


@pytest.mark.parametrize(
    ("by_status", "bar"),
    [
        (
            {"running": 3, "error": 1},
            [("0%", "75%"), ("75%", "0%"), ("75%", "0%"), ("75%", "0%"), ("75%", "25%"), ("100%", "0%")],
        ),
        (
            {"running": 1, "stopped": 1, "other": 1},
            [
                ("0%", "33.333%"),
                ("33.333%", "33.333%"),
                ("66.667%", "0%"),
                ("66.667%", "0%"),
                ("66.667%", "0%"),
                ("66.667%", "33.333%"),
            ],
        ),
        ({}, [("0%", "0%")] * 6),
    ],
)
def test_the_bar_stacks_its_parts_side_by_side(by_status: dict[str, int], bar: list[tuple[str, str]]) -> None:
    page = present_status(snapshot(**by_status), age_seconds=0.0, now=NOW)
    assert [(part.x, part.width) for part in page.bar] == bar


def test_old_figures_are_marked_by_the_server_too() -> None:
    page = present_status(snapshot(running=1), age_seconds=10.5, now=NOW)
    assert page.value("freshness") == "stale"
    assert page.rule.verdict is Verdict.STALE
    assert page.value("vps.total") == 1


def test_before_the_first_reading_nothing_is_claimed() -> None:
    page = present_status(None, age_seconds=None, now=NOW)
    assert page.rule.verdict is Verdict.UNKNOWN
    assert page.value("vps.total") is None
    assert {part.width for part in page.bar} == {"0%"}


def test_before_the_components_were_read_monitoring_is_said_to_be_interrupted() -> None:
    page = present_status(snapshot(running=1), None, age_seconds=0.0, now=NOW)
    assert page.rule.headline == "Monitoring is interrupted"


def test_a_page_starts_unconnected() -> None:
    assert present_status(snapshot(), age_seconds=0.0, now=NOW).value("connection") == "none"


def test_the_about_page_has_seven_figures_with_a_sentence_each() -> None:
    figures = present_about(PlatformStatistics(users=Total(total=12), regions=Total(total=1)))
    assert len(figures) == 7
    assert all(figure.sentence.endswith(".") for figure in figures)
    assert {figure.several: figure.amount for figure in figures} == {
        "VPS deployed": 0,
        "containers deployed": 0,
        "organizations": 0,
        "registered users": 12,
        "support tickets": 0,
        "available VPS plans": 0,
        "available regions": 1,
    }


def test_without_figures_the_about_page_knows_no_amount() -> None:
    assert {figure.amount for figure in present_about(None)} == {None}


def test_details_are_listed_most_first_and_nothing_is_nameless() -> None:
    vps = VpsDetails(
        by_raw_status={"": 2, "busy": 2, "running": 9},
        by_region=[VpsRegionCount(region="", total=1), VpsRegionCount(region="eu", total=5)],
        by_plan=[
            VpsPlanCount(plan_id="g6-nano", total=3),
            VpsPlanCount(plan_id="some-id", name="Nano", total=4),
        ],
        invalid_specifications=[
            InvalidSpecification(vps_plan_id=UUID(int=1), name="Odd", problem="no memory")
        ],
    )
    control = BillingControl(
        paused=False, reason=None, changed_by=None, changed_at=None, amount_owed=None, amount_payable=None
    )
    details = present_details(vps, DaemonDetails(), control)
    assert details.raw_statuses == [("running", 9), ("(none)", 2), ("busy", 2)]
    assert details.regions == [("eu", 5), ("(none)", 1)]
    assert details.plans == [("Nano", 4), ("g6-nano (no such plan)", 3)]
    assert details.invalid_specifications == [("Odd", "no memory")]


def test_a_snapshot_is_judged_by_its_age_alone() -> None:
    old = replace(snapshot(running=1), timestamp=NOW.replace(year=2020))
    assert present_status(old, age_seconds=1.0, now=NOW).value("freshness") == "fresh"
