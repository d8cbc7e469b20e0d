"""The documents on the wire: names, groups, and what each audience gets."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import ValidationError

from containerstacks_shared.billing.documents import Biller, DaemonDetails, DaemonState, DaemonStatus
from containerstacks_shared.fleet.platform import PlatformDetails
from containerstacks_shared.fleet.vps import VpsDetails, VpsStatistics, VpsStatusGroup
from containerstacks_web.api.documents import DaemonStatusDocument, PlatformStatisticsDocument
from containerstacks_web.live.messages import StatusMessage

NOON = datetime(2026, 11, 23, 12, 0, 0, 1000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw_status", "group"),
    [
        *((group.value, group) for group in VpsStatusGroup),
        *(
            (raw, VpsStatusGroup.STOPPED)
            for raw in ("offline", "shutting_down", "suspended", "billing_suspension")
        ),
        *(
            (raw, VpsStatusGroup.PROVISIONING)
            for raw in ("booting", "cloning", "restoring", "rebuilding", "migrating")
        ),
        ("failed", VpsStatusGroup.ERROR),
        *((raw, VpsStatusGroup.OTHER) for raw in ("deleting", "busy", "unknown", "", "Running", None)),
    ],
)
def test_raw_statuses_fold_into_groups(raw_status: str | None, group: VpsStatusGroup) -> None:
    assert VpsStatusGroup.of(raw_status) is group


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Decimal("12.00"), "12"),
        (Decimal("12.5"), "12.5"),
        (Decimal("1234567.12345678"), "1234567.12345678"),
        (Decimal("0E+2"), "0"),
    ],
)
def test_figures_are_numbers_with_every_digit_that_counts(figure: Decimal, text: str) -> None:
    assert f'"totalAmount":{text},' in DaemonDetails(total_amount=figure).model_dump_json()
    assert f'"totalAmountExact":"{figure:f}"' in DaemonDetails(total_amount=figure).model_dump_json()


def test_times_are_utc_whatever_zone_they_come_in() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-7)))
    document = DaemonStatus(last_run=elsewhere, last_run_by=Biller.BUILTIN, status=DaemonState.STOPPED)
    sent = json.loads(document.model_dump_json())
    assert sent["lastRun"] == "2026-11-23T12:00:00.001000Z"
    assert sent["lastRunBy"] == "builtin"
    assert sent["status"] == "stopped"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        DaemonStatus(last_run=NOON.replace(tzinfo=None))


def test_the_public_message_leaves_out_what_only_administrators_see() -> None:
    message = StatusMessage(
        version=1,
        timestamp=NOON,
        vps=VpsDetails(total=1, by_raw_status={"running": 1}),
        daemon=DaemonDetails(total_amount=Decimal("3.5"), host="billing-1", error_message="no money"),
    )
    sent = json.loads(message.model_dump_json())
    assert set(sent["vps"]) == set(VpsStatistics().model_dump(by_alias=True))
    assert set(sent["daemon"]) == set(DaemonStatus().model_dump(by_alias=True))


def test_an_administrators_document_keeps_the_details() -> None:
    document = DaemonStatusDocument(timestamp=NOON, daemon=DaemonDetails(total_amount=Decimal("3.5")))
    assert json.loads(document.model_dump_json())["daemon"]["totalAmount"] == 3.5
    stats = PlatformStatisticsDocument(timestamp=NOON, stats=PlatformDetails())
    assert json.loads(stats.model_dump_json())["stats"]["users"] == {"total": 0, "admins": 0, "regular": 0}
