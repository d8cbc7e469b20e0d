"""The look-out: every aggregator, leading or not, asks the database once a minute, and remembers when it was away.

A minute in which the database was away cannot be written down then. Whoever of us leads afterwards tells of
it: that this process asked in that minute, and had no answer, is all that such a record says.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import db
from containerstacks_shared.status import components
from containerstacks_shared.status.components import Clock

_ANSWER_SECONDS_MAX: Final = 5.0
# Whoever was stopped or starved for longer than the time that it gives the database, knows nothing about it.
_OWN_DELAY_SECONDS_MAX: Final = 2.0
# Older minutes are already added up, and soon forgotten.
_REMEMBERED: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)

_log = structlog.get_logger(__name__)


class OutageLog:
    def __init__(self, pool: db.Pool) -> None:
        self._pool = pool
        self._moments: list[datetime] = []
        # The database's clock goes on while it is away: its last answer, and the loop's clock then.
        self._last_answer: tuple[Clock, float] | None = None

    @property
    def moments(self) -> Sequence[datetime]:
        """When the database did not answer, by its own clock; the oldest first."""
        return tuple(self._moments)

    def forget(self, moments: Sequence[datetime]) -> None:
        """Forget what is recorded now."""
        self._moments = [moment for moment in self._moments if moment not in moments]

    async def watch_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await wait_for_event(stop, (await self.look()).total_seconds())

    async def look(self) -> timedelta:
        """Ask once, and return how long until the next minute begins."""
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS_MAX), self._pool.acquire() as connection:
                answer = await components.read_clock(connection)
        except db.FAILURES as error:
            if clock() - asked_at <= _ANSWER_SECONDS_MAX + _OWN_DELAY_SECONDS_MAX:
                self._note(asked_at, describe(error))
            return self._to_next_minute()
        self._last_answer = (answer, clock())
        return answer.to_next_minute

    def _note(self, asked_at: float, error: str) -> None:
        if self._last_answer is None:
            return
        answer, answered_at = self._last_answer
        moment = answer.now + timedelta(seconds=asked_at - answered_at)
        self._moments = [known for known in self._moments if known > moment - _REMEMBERED] + [moment]
        _log.warning("outages.database_away", moment=moment.isoformat(), error=error)

    def _to_next_minute(self) -> timedelta:
        if self._last_answer is None:
            return _MINUTE
        answer, answered_at = self._last_answer
        elapsed = timedelta(seconds=asyncio.get_running_loop().time() - answered_at)
        return _MINUTE - (elapsed - answer.to_next_minute) % _MINUTE
