"""Detects when this process was stopped or starved, so that it does not blame others for that time."""

import asyncio
from typing import Final

from containerstacks_shared.core.waiting import wait_for_event

_TICK_SECONDS: Final = 0.5
# A loop that gets no turn for longer was stopped, or starved.
_GAP_SECONDS_MAX: Final = 2.0


class WakingClock:
    """The event loop's clock, without the time in which the loop stood still.

    Each reading compares itself with the one before, so the first one after a stop already knows of it.
    """

    def __init__(self) -> None:
        self._loop_time = asyncio.get_running_loop().time
        self._read_at = self._loop_time()
        self._asleep = 0.0

    def time(self) -> float:
        return self._loop_time() - self.asleep()

    def asleep(self) -> float:
        """How many seconds the process has slept through until now."""
        now = self._loop_time()
        gap, self._read_at = now - self._read_at, now
        if gap > _GAP_SECONDS_MAX:
            self._asleep += gap
        return self._asleep

    async def tick_until(self, stop: asyncio.Event) -> None:
        while not await wait_for_event(stop, _TICK_SECONDS):
            self.asleep()
