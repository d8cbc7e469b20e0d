"""The retry policy for deliveries of the outbox."""

from datetime import timedelta
from typing import Final

# With the pauses between them: nearly a day.
ATTEMPTS_MAX: Final = 30

_PAUSE_MIN: Final = timedelta(seconds=10)
_PAUSE_MAX: Final = timedelta(hours=1)


def pause_after(attempts: int) -> timedelta:
    """Twice as long after each attempt, up to an hour."""
    return min(_PAUSE_MIN * (1 << (attempts - 1)), _PAUSE_MAX)
