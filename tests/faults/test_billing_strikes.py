"""Several billers at work while everything around them dies: no cent is lost, and none is charged twice."""

import os
import sys
from collections.abc import Callable

import pytest

from faults.strikes.blows import Kind
from faults.strikes.campaign import open_campaign


# Longer than any other test: six processes start, and some strikes last until a server gives up on a session.
@pytest.mark.timeout(600)
async def test_billing_is_exact_after_a_fault_of_each_kind(
    record_property: Callable[[str, object], None],
) -> None:
    seed = int(os.environ.get("FAULTS_SEED", "3"))
    async with open_campaign(seed, tell=_tell) as campaign:
        for kind in Kind:
            await campaign.strike(kind)
        record_property("survived", campaign.report())


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
