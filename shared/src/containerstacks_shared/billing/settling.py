"""When to try again to settle debts, after the run that a top-up asked for failed.

The hint is used up by then, and the next hour would settle them too late. So the job that heard it tries again by
itself, at pauses that double up to a minute, until a run has gone through.
"""

import math
from typing import Final

_PAUSE_MIN_SECONDS: Final = 1.0
_PAUSE_MAX_SECONDS: Final = 60.0


class SettlingAgain:
    """Moments are of the event loop's clock."""

    def __init__(self) -> None:
        self._pause = _PAUSE_MIN_SECONDS
        self._due_at = math.inf

    def note_failure(self, now: float) -> None:
        self._due_at = now + self._pause
        self._pause = min(2 * self._pause, _PAUSE_MAX_SECONDS)

    def note_success(self) -> None:
        """Also after a look that found nothing to settle."""
        self._pause = _PAUSE_MIN_SECONDS
        self._due_at = math.inf

    def seconds_left(self, now: float) -> float:
        """How long until the next attempt: infinite while nothing failed."""
        return max(self._due_at - now, 0.0)
