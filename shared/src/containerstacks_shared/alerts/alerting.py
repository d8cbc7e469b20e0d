"""The job of every process that has ALERT_URLS: look, and tell."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from containerstacks_shared.core.settings import CommonSettings
from containerstacks_shared.core.waiting import happens_within
from containerstacks_shared.database.db import UNAVAILABLE, Pool

from .receivers import Receiver
from .telling import Telling
from .watching import LOOK_SECONDS, Watch

# A look is a few small queries; the runways of a large fleet take longer.
_LOOK_SECONDS_MAX: Final = 60.0

_log = structlog.get_logger(__name__)


class Alerting:
    """`sees_money` is whether this process may read wallets, and so tell of low balances."""

    def __init__(
        self, pool: Pool, settings: CommonSettings, receivers: Sequence[Receiver], *, sees_money: bool
    ) -> None:
        self._tellings = [Telling(pool, receiver, settings.company_name) for receiver in receivers]
        keys = [receiver.key for receiver in receivers]
        self._watch = Watch(pool, settings, receivers=keys, sees_money=sees_money)

    async def run(self, stop: asyncio.Event) -> None:
        """Without a receiver there is nothing to do, and nothing is written down."""
        if not self._tellings:
            await stop.wait()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_until(stop))
            for telling in self._tellings:
                group.create_task(telling.tell_until(stop))

    async def _look_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if await self._look():
                for telling in self._tellings:
                    telling.news.set()
            await happens_within(stop, LOOK_SECONDS)

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(_LOOK_SECONDS_MAX):
                return await self._watch.look()
        except UNAVAILABLE as error:
            _log.info("alert.database_away", error=str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - billing goes on, whatever is wrong with watching it
            _log.error("alert.looking_failed", error=str(error) or type(error).__name__, exc_info=error)
        return False
