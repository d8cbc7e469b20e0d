"""Delivers messages of the outbox to one receiver.

A message is claimed, sent outside any transaction, and written down as sent. A process that is killed between the last
two leaves no way to know whether it arrived: the message is then sent once more, under the same id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter

from containerstacks_shared.core.errors import describe
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.database.db import UNAVAILABLE, Connection, Pool

from . import messages as outbox
from .messages import Message, Topic

# Longer than any call takes, or another process would deliver the message too.
_CLAIM: Final = timedelta(seconds=30)
_ERROR_CHARACTERS_MAX: Final = 300
# A process that stops waits for its deliveries, but not for a database that is silent.
_DATABASE_SECONDS: Final = 5.0

# With the pauses between them: nearly a day.
ATTEMPTS_MAX: Final = 30
_PAUSE_MIN: Final = timedelta(seconds=10)
_PAUSE_MAX: Final = timedelta(hours=1)

CALLS: Final = Counter(
    "containerstacks_outbox_calls",
    "Calls of receivers of alerts and debts by this process, by outcome.",
    ["topic", "outcome"],
)

_log = structlog.get_logger(__name__)


class NotDelivered(Exception):  # noqa: N818 - named by what happened
    """The receiver was not reached, or did not accept. The message is logged and stored: it holds no secret."""


# Delivers messages of one event and batch by one call. Raises `NotDelivered`.
Handler = Callable[[Sequence[Message]], Awaitable[None]]


@dataclass(frozen=True)
class _Call:
    """A call that was made; without an error it was accepted."""

    messages: Sequence[Message]
    error: str | None


@dataclass
class Delivery:
    """`name` is for people. Calls are concurrent, and take at most `call_seconds` each."""

    pool: Pool
    topic: Topic
    receiver: str
    name: str
    handler: Handler
    call_seconds: float
    calls_at_once: int = 1
    messages_per_call: int = 1
    # Outcomes that could not be stored while the database was away: stored before the next call.
    _unwritten: list[_Call] = field(default_factory=list)

    async def deliver(self) -> bool:
        """Deliver what is due. Returns whether anything was claimed. Raises nothing, so that the caller goes on."""
        try:
            await self._write_down()
            claimed = await self._claim()
            await asyncio.gather(*(self._call(messages) for messages in claimed))
            await self._write_down()
        except UNAVAILABLE as error:
            _log.info("outbox.database_away", topic=self.topic.value, error=describe(error))
            return False
        except Exception as error:  # noqa: BLE001 - a failed delivery must not end the process
            self._log_mistake(error)
            return False
        return bool(claimed)

    async def _claim(self) -> list[list[Message]]:
        claimed: list[list[Message]] = []
        async with lend(self.pool, within=_DATABASE_SECONDS) as connection:
            while len(claimed) < self.calls_at_once:
                messages = await outbox.claim(
                    connection,
                    self.topic,
                    receiver=self.receiver,
                    limit=self.messages_per_call,
                    duration=_CLAIM,
                )
                if not messages:
                    break
                claimed.append(messages)
        return claimed

    async def _call(self, messages: Sequence[Message]) -> None:
        error = None
        try:
            async with asyncio.timeout(self.call_seconds):
                await self.handler(messages)
        except TimeoutError:
            error = f"took longer than {self.call_seconds:g} s"
        except NotDelivered as failed:
            error = str(failed)[:_ERROR_CHARACTERS_MAX]
        except Exception as mistake:  # noqa: BLE001 - an attempt like any other: it has its pause, and an end
            self._log_mistake(mistake)
            # Not its text, which may hold a secret.
            error = f"broke off ({type(mistake).__name__})"
        fields = {
            "topic": self.topic.value,
            "receiver": self.name,
            "message_event": messages[0].event,
            "messages": len(messages),
            "first": messages[0].id,
        }
        if error is None:
            CALLS.labels(self.topic.value, "delivered").inc()
            _log.info("outbox.delivered", **fields)
        else:
            CALLS.labels(self.topic.value, "failed").inc()
            _log.warning("outbox.not_delivered", error=error, attempts=messages[0].attempts, **fields)
        self._unwritten.append(_Call(messages, error))

    def _log_mistake(self, error: Exception) -> None:
        _log.error("outbox.failed", topic=self.topic.value, error=describe(error), exc_info=error)

    async def _write_down(self) -> None:
        while self._unwritten:
            async with lend(self.pool, within=_DATABASE_SECONDS) as connection:
                await self._write(connection, self._unwritten[0])
            del self._unwritten[0]

    async def _write(self, connection: Connection, call: _Call) -> None:
        if call.error is None:
            await outbox.end(connection, call.messages, outcome="delivered")
            return
        given_up = [message for message in call.messages if message.attempts >= ATTEMPTS_MAX]
        again = [message for message in call.messages if message.attempts < ATTEMPTS_MAX]
        if again:
            pause = pause_after(min(message.attempts for message in again))
            await outbox.try_later(connection, again, pause=pause, error=call.error)
        if given_up:
            await outbox.end(connection, given_up, outcome="given_up", error=call.error)
            CALLS.labels(self.topic.value, "given_up").inc()
            _log.error(
                "outbox.given_up",
                topic=self.topic.value,
                receiver=self.name,
                messages=len(given_up),
                error=call.error,
            )


def pause_after(attempts: int) -> timedelta:
    """Twice as long after each attempt, up to an hour."""
    return min(_PAUSE_MIN * (1 << (attempts - 1)), _PAUSE_MAX)
