"""Telling what stands in the outbox, one receiver at a time and each at its own pace.

A message is claimed, sent outside any transaction, and written down as sent. A process that is killed between the last
two leaves no way to know whether it arrived: the message is then sent once more. Twice is a nuisance; never would be an
alert that nobody had.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter

from containerstacks_shared.core.metrics import REGISTRY
from containerstacks_shared.core.outbox import ATTEMPTS_MAX, pause_after
from containerstacks_shared.core.waiting import first_of
from containerstacks_shared.database.db import UNAVAILABLE, Pool

from . import records
from .messages import compose
from .receivers import CALL_SECONDS, NotDelivered, Receiver
from .records import Message

# Longer than a call takes, or somebody else would make it as well.
_CLAIM: Final = timedelta(seconds=2 * CALL_SECONDS)
_MESSAGES_PER_CALL: Final = 500
# When another process wrote something down, or a pause between attempts is over.
_LOOK_SECONDS: Final = 5.0

ALERT_CALLS: Final = Counter(
    "containerstacks_alert_calls",
    "Calls of alert receivers by this process, by what came of them.",
    ["outcome"],
    registry=REGISTRY,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Call:
    messages: Sequence[Message]
    # None: it was delivered.
    error: str | None


@dataclass
class Telling:
    """Tells one receiver. `news` is set when this process wrote something down for it."""

    pool: Pool
    receiver: Receiver
    company: str
    news: asyncio.Event = field(default_factory=asyncio.Event)
    # A call that could not be written down, because the database was away: before any other is made.
    _unwritten: _Call | None = None

    async def tell_until(self, stop: asyncio.Event) -> None:
        """The call in hand is finished, so that it is not made twice."""
        while not stop.is_set():
            self.news.clear()
            if not await self._did_something():
                await first_of(stop.wait(), self.news.wait(), asyncio.sleep(_LOOK_SECONDS))

    async def _did_something(self) -> bool:
        try:
            await self._write_down()
            async with self.pool.acquire() as connection:
                messages = await records.claim(
                    connection, receiver=self.receiver.key, limit=_MESSAGES_PER_CALL, duration=_CLAIM
                )
            if messages:
                self._unwritten = _Call(messages, await self._call(messages))
                await self._write_down()
        except UNAVAILABLE as error:
            _log.info("alert.database_away", error=str(error) or type(error).__name__)
            return False
        except Exception as error:  # noqa: BLE001 - whatever is wrong with telling, the process goes on
            _log.error("alert.telling_failed", error=str(error) or type(error).__name__, exc_info=error)
            return False
        return bool(messages)

    async def _call(self, messages: Sequence[Message]) -> str | None:
        fields = {
            "receiver": self.receiver.name,
            "event_told": messages[0].event,
            "kind": messages[0].kind,
            "alerts": len(messages),
        }
        try:
            await self.receiver.tell(compose(messages, company=self.company))
        except NotDelivered as failed:
            ALERT_CALLS.labels("failed").inc()
            _log.warning("alert.not_told", error=str(failed), attempts=messages[0].attempts, **fields)
            return str(failed)
        ALERT_CALLS.labels("delivered").inc()
        _log.info("alert.told", **fields)
        return None

    async def _write_down(self) -> None:
        call = self._unwritten
        if call is None:
            return
        async with self.pool.acquire() as connection:
            if call.error is None:
                await records.end(connection, call.messages, outcome="delivered")
            else:
                given_up = [message for message in call.messages if message.attempts >= ATTEMPTS_MAX]
                again = [message for message in call.messages if message.attempts < ATTEMPTS_MAX]
                if again:
                    attempts = min(message.attempts for message in again)
                    pause = pause_after(attempts)
                    await records.try_later(connection, again, pause=pause, error=call.error)
                if given_up:
                    await records.end(connection, given_up, outcome="given_up", error=call.error)
                    ALERT_CALLS.labels("given_up").inc()
                    _log.error("alert.given_up", receiver=self.receiver.name, alerts=len(given_up))
        self._unwritten = None
