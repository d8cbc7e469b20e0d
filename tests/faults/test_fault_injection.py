"""Several billers run while processes, sessions and servers fail: no cent is lost, and none is charged twice."""

import os
import sys
from collections.abc import Callable

import pytest

from faults.injection.campaign import open_campaign
from faults.injection.injectors import Fault


# Longer than any other test: six processes start, and some faults last until the server ends a session.
@pytest.mark.timeout(600)
async def test_billing_is_exact_after_a_fault_of_each_kind(
    record_property: Callable[[str, object], None],
) -> None:
    seed = int(os.environ.get("FAULTS_SEED", "3"))
    async with open_campaign(seed, log=_print) as campaign:
        for fault in Fault:
            await campaign.inject(fault)
        record_property("survived", campaign.report())


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
