"""The auditor's own reading of the plans' history, beside a look at every version at every moment."""

import random
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from types import FrameType
from uuid import UUID

import pytest

from containerstacks_shared.billing.rates_by_history import Catalogue, Version

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
REGIONS = ("", "us-east", "eu-west")


def versions_of(plans: int, edits: int, *, seed: int, providers: int = 2) -> list[Version]:
    """Plans that are offered, edited, moved to another region and withdrawn, each at its own moments."""
    chance = random.Random(seed)
    found: list[Version] = []
    for number in range(plans):
        moments = sorted(START + chance.randrange(plans * 10) * HOUR for _ in range(edits))
        found += [
            Version(
                rank=len(found) + index + chance.choice((0, 10_000)) * 10,
                since=since,
                until=until,
                plan=UUID(int=number),
                provider_plan_id=f"g6-{number % providers}",
                region=chance.choice(REGIONS),
                monthly_price=Decimal(chance.randrange(100)),
                backup_price_hourly=Decimal(0),
            )
            for index, (since, until) in enumerate(pairwise([*moments, END]))
            # Some are gone for a while.
            if since < until and chance.random() < 0.8
        ]
    return found


def meant(versions: list[Version], plan_id: str, region: str, moment: datetime) -> Version | None:
    present = [version for version in versions if version.since <= moment < version.until]
    own = [version for version in present if str(version.plan) == plan_id]
    there = [
        version for version in present if (version.provider_plan_id, version.region) == (plan_id, region)
    ]
    anywhere = [version for version in present if version.provider_plan_id == plan_id]
    return min(own or (there if region else []) or anywhere, default=None)


@pytest.mark.parametrize("seed", range(10))
def test_a_reference_means_at_every_moment_what_a_look_at_all_plans_says(seed: int) -> None:
    versions = versions_of(plans=8, edits=4, seed=seed)
    catalogue = Catalogue(versions)
    moments = {BEGINNING, *(moment for version in versions for moment in (version.since, version.until))}
    for plan_id in ("g6-0", "g6-1", "g6-never", str(UUID(int=3))):
        for region in REGIONS:
            pieces = catalogue.pieces(plan_id, region)
            assert [piece.until for piece in pieces[:-1]] == [piece.since for piece in pieces[1:]]
            assert (pieces[0].since, pieces[-1].until) == (BEGINNING, END)
            for moment in moments - {END}:
                (piece,) = [piece for piece in pieces if piece.since <= moment < piece.until]
                assert piece.version == meant(versions, plan_id, region, moment)


def calls(plans: int) -> int:
    """Count the calls it takes to price each plan by its own id, and in each region."""
    versions = versions_of(plans, edits=3, seed=1, providers=plans // 5)
    counted: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        counted[event] += 1

    sys.setprofile(count)
    try:
        catalogue = Catalogue(versions)
        for number in range(plans):
            catalogue.pieces(str(UUID(int=number)), "")
            catalogue.pieces(f"g6-{number % (plans // 5)}", REGIONS[number % 3])
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]


def test_ten_times_the_plans_are_ten_times_the_work() -> None:
    assert calls(2000) < 12 * calls(200)
