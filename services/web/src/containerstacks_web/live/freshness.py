"""Whether a reading is recent enough to be shown as the present."""

from enum import StrEnum
from typing import Final

FRESH_SECONDS_MAX: Final = 10


class Freshness(StrEnum):
    FRESH = "fresh"
    STALE = "stale"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, age_seconds: float | None) -> "Freshness":
        if age_seconds is None:
            return cls.UNKNOWN
        return cls.FRESH if age_seconds <= FRESH_SECONDS_MAX else cls.STALE
