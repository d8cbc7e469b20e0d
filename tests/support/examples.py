"""On how many cases a property is tried: always the same ones, and in `make soak` many more, from a printed seed."""

import os

from hypothesis import HealthCheck, settings

# Of `make soak`, which also gives Hypothesis the seed.
_FACTOR = int(os.environ.get("SOAK_FACTOR", "1"))
_IS_SOAK = "SOAK_FACTOR" in os.environ


def examples(count: int) -> settings:
    return settings(
        max_examples=count * _FACTOR,
        derandomize=not _IS_SOAK,
        database=None,
        deadline=None,
        # All cases share one database, which each of them leaves unchanged.
        suppress_health_check=list(HealthCheck),
    )
