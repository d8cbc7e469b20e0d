"""When to try again what failed: after a pause that doubles with each failure in a row, up to a minute."""

import math
from typing import Final

_PAUSE_MIN_SECONDS: Final = 1.0
_PAUSE_MAX_SECONDS: Final = 60.0


class Backoff:
    """Times are the event loop's."""

    def __init__(self) -> None:
        self._pause = _PAUSE_MIN_SECONDS
        self._due_at = math.inf

    def note_failure(self, now: float) -> None:
        self._due_at = now + self._pause
        self._pause = min(2 * self._pause, _PAUSE_MAX_SECONDS)

    def note_success(self) -> None:
        """Call this too when there was nothing to do."""
        self._pause = _PAUSE_MIN_SECONDS
        self._due_at = math.inf

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt failed."""
        return self._due_at < math.inf

    def seconds_left(self, now: float) -> float:
        """Seconds until the next attempt; infinite when nothing has failed."""
        return max(self._due_at - now, 0.0)
