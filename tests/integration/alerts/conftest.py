"""One process's alerting in the test: it checks and sends on request, to a real webhook."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from containerstacks_shared.alerts.alerting import deliveries
from containerstacks_shared.alerts.receivers import receivers
from containerstacks_shared.alerts.watching import Watch
from containerstacks_shared.core.settings import CommonSettings, load_settings
from containerstacks_shared.database import db
from containerstacks_shared.outbox.delivery import Delivery
from support.alert_receiver import AlertReceiver, alert_receiver

# Longer than the time between two checks.
TURN = timedelta(seconds=20)


@dataclass
class Watcher:
    """One process's checks and deliveries, without its pauses."""

    watch: Watch
    deliveries: list[Delivery]

    async def check(self) -> None:
        await self.watch.check()

    async def send(self) -> None:
        for delivery in self.deliveries:
            while await delivery.deliver():
                pass

    async def check_and_send(self) -> None:
        await self.check()
        await self.send()


@pytest.fixture
async def receiver() -> AsyncIterator[AlertReceiver]:
    async with alert_receiver() as receiver:
        yield receiver


StartWatcher = Callable[..., Watcher]


@pytest.fixture
def watcher(database_url: str, pool: db.Pool, receiver: AlertReceiver) -> StartWatcher:
    """Make a watcher as another process would have it; `urls` are further receivers."""

    def start(*urls: str, sees_money: bool = True, delay_minutes: int = 0) -> Watcher:
        settings = load_settings(
            CommonSettings,
            database_url=database_url,
            alert_urls=" ".join([receiver.url, *urls]),
            alert_delay_minutes=delay_minutes,
        )
        found = receivers(settings)
        keys = [one.key for one in found]
        return Watcher(
            Watch(pool, settings, receivers=keys, sees_money=sees_money),
            deliveries(pool, found, company=settings.company_name),
        )

    return start
