"""Outages of the database: every aggregator, leading or not, asks every few seconds, and remembers when it was away.

An outage cannot be recorded while it lasts, so the next leader records it. Such a record says only that this process
asked, and had no answer for so long.
"""

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import db
from containerstacks_shared.status import components
from containerstacks_shared.status.components import Clock

from .waking import WakingClock

# An outage of ten seconds always holds a question that waits for five.
_EVERY_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
# A database that is back sooner was restarted, say, and is not called down.
_AWAY_AFTER_SECONDS: Final = 5.0
# A little longer, so that one question without an answer is enough.
_ANSWER_SECONDS_MAX: Final = _AWAY_AFTER_SECONDS + 0.1
# Older minutes are already added up, and soon forgotten.
_REMEMBERED: Final = timedelta(days=1)

_log = structlog.get_logger(__name__)


class OutageLog:
    def __init__(self, pool: db.Pool, clock: WakingClock) -> None:
        self._pool = pool
        self._clock = clock
        self._moments: list[datetime] = []
        # When the database answered last: by its own clock, which goes on while it is away, and by the loop's.
        self._last_answer: tuple[Clock, float] | None = None
        self._failing_since: float | None = None
        # When a question had no answer last, by the clock of this process.
        self.away_at = -math.inf

    @property
    def moments(self) -> Sequence[datetime]:
        """When the database had not answered for seconds, by its own clock: the last in each minute, oldest first."""
        return tuple(self._moments)

    def forget(self, moments: Sequence[datetime]) -> None:
        """Forget what is recorded now."""
        self._moments = [moment for moment in self._moments if moment not in moments]

    async def watch_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await wait_for_event(stop, _EVERY_SECONDS if await self.look() else _RETRY_SECONDS)

    async def look(self) -> bool:
        """Ask once. Whether there was an answer."""
        loop_time = asyncio.get_running_loop().time
        asked_at, asleep = loop_time(), self._clock.asleep()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS_MAX), self._pool.acquire() as connection:
                answer = await components.read_clock(connection)
        except db.FAILURES as error:
            if self._clock.asleep() > asleep:
                # A process that was stopped or starved meanwhile knows nothing about the database.
                self._failing_since = None
            else:
                self.away_at = self._clock.time()
                self._note(asked_at, loop_time(), describe(error))
            return False
        self._last_answer, self._failing_since = (answer, loop_time()), None
        return True

    def _note(self, asked_at: float, failed_at: float, error: str) -> None:
        if self._failing_since is None:
            self._failing_since = asked_at
        if self._last_answer is None or failed_at - self._failing_since < _AWAY_AFTER_SECONDS:
            return
        answer, answered_at = self._last_answer
        moment = answer.now + timedelta(seconds=failed_at - answered_at)
        if self._moments and _minute(self._moments[-1]) == _minute(moment):
            self._moments.pop()
        else:
            _log.warning("outages.database_away", moment=moment.isoformat(), error=error)
        self._moments = [known for known in self._moments if known > moment - _REMEMBERED] + [moment]


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
