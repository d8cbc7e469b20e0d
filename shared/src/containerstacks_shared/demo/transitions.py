"""What the provider might report next about an instance: the demo's idea of a life."""

from datetime import timedelta
from typing import Final

# Of many instances that are asked at random, some eight in ten are running in the long run.
_TRANSITIONS: Final[dict[str, tuple[tuple[float, str], ...]]] = {
    "running": (
        (0.68, "rebooting"),
        (0.12, "shutting_down"),
        (0.10, "migrating"),
        (0.06, "busy"),
        (0.04, "error"),
    ),
    "offline": ((0.90, "booting"), (0.10, "rebuilding")),
    "stopped": ((1.00, "booting"),),
    "shutting_down": ((1.00, "offline"),),
    "provisioning": ((0.97, "running"), (0.03, "error")),
    "rebooting": ((0.98, "running"), (0.02, "error")),
    "error": ((0.85, "rebooting"), (0.15, "offline")),
}

# On the way to something else; for so long, give or take.
TRANSITIONAL: Final[dict[str, timedelta]] = {
    "booting": timedelta(seconds=6),
    "busy": timedelta(seconds=8),
    "migrating": timedelta(seconds=15),
    "provisioning": timedelta(seconds=12),
    "rebooting": timedelta(seconds=5),
    "rebuilding": timedelta(seconds=15),
    "shutting_down": timedelta(seconds=5),
}


def next_status(status: str | None, *, chance: float) -> str:
    """Choose what follows; `chance` is a random number from 0 up to 1. Whatever is unknown recovers."""
    reached = 0.0
    choices = _TRANSITIONS.get(status or "", ((1.0, "running"),))
    for share, following in choices:
        reached += share
        if chance < reached:
            return following
    # The shares' sum may fall short of 1 by a rounding.
    return choices[-1][1]
