"""The job of every process that has ALERT_URLS: check conditions, and send alerts."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.settings import CommonSettings
from containerstacks_shared.core.waiting import race, wait_for_event
from containerstacks_shared.database.db import UNAVAILABLE, Pool
from containerstacks_shared.outbox.delivery import Delivery
from containerstacks_shared.outbox.messages import Message, Topic

from .messages import AlertMessage, compose
from .receivers import CALL_SECONDS, Receiver
from .watching import Watch

# A check is a few small queries; the runways of a large fleet take longer.
_LOOK_SECONDS_MAX: Final = 60.0
_MESSAGES_PER_CALL: Final = 500
# For messages of other processes, and retries that are due.
_LOOK_AGAIN_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Alerting:
    """`sees_money` is whether this process may read wallets, and so check balances."""

    def __init__(
        self, pool: Pool, settings: CommonSettings, receivers: Sequence[Receiver], *, sees_money: bool
    ) -> None:
        self._deliveries = deliveries(pool, receivers, company=settings.company_name)
        # Set when this process has stored a message.
        self._news = [asyncio.Event() for _ in self._deliveries]
        self._check_seconds = settings.alert_check_seconds
        keys = [receiver.key for receiver in receivers]
        self._watch = Watch(pool, settings, receivers=keys, sees_money=sees_money)

    async def run(self, stop: asyncio.Event) -> None:
        """Without a receiver nothing is checked or stored."""
        if not self._deliveries:
            await stop.wait()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_until(stop))
            for delivery, news in zip(self._deliveries, self._news, strict=True):
                group.create_task(_deliver_until(stop, delivery, news))

    async def _look_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            # The next process checks again: a stop need not wait for a database that is silent.
            await race(stop.wait(), self._look())
            await wait_for_event(stop, self._check_seconds)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS_MAX):
                is_new = await self._watch.check()
        except UNAVAILABLE as error:
            _log.info("alert.database_away", error=describe(error))
        except Exception as error:  # noqa: BLE001 - a failed check must not stop billing
            _log.error("alert.looking_failed", error=describe(error), exc_info=error)
        else:
            for news in self._news if is_new else ():
                news.set()


async def _deliver_until(stop: asyncio.Event, delivery: Delivery, news: asyncio.Event) -> None:
    """Deliver to each receiver at its own pace. At the stop a running call is finished, so that it is not repeated."""
    while not stop.is_set():
        news.clear()
        if not await delivery.deliver():
            await race(stop.wait(), news.wait(), asyncio.sleep(_LOOK_AGAIN_SECONDS))


def deliveries(pool: Pool, receivers: Sequence[Receiver], *, company: str) -> list[Delivery]:
    """Return one delivery per receiver; alerts of one kind that begin or end together share a message."""

    async def send(receiver: Receiver, messages: Sequence[Message]) -> None:
        await receiver.send(compose([AlertMessage.read(message) for message in messages], company=company))

    return [
        Delivery(
            pool,
            Topic.ALERT,
            receiver=receiver.key,
            name=receiver.name,
            handler=partial(send, receiver),
            # A receiver ends its own calls, and says how.
            call_seconds=CALL_SECONDS + 5,
            messages_per_call=_MESSAGES_PER_CALL,
        )
        for receiver in receivers
    ]
