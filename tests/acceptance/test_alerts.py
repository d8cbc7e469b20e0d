"""Three real processes and one webhook: each event is sent once, and so is its end."""

from decimal import Decimal

import asyncpg
import pytest

from support import fleet
from support.alert_receiver import AlertReceiver, alert_receiver
from support.processes import Processes
from support.waiting import eventually

PREFIX = "[ContainerStacks] "
TITLES = LOW, DAMAGE, MENDED, LOW_OVER, DOWN, BACK = (
    "Low balance",
    "An audit found damage",
    "The last audit found no damage",
    "The balance is sufficient again",
    "The billing daemon is down",
    "The billing daemon is running again",
)


async def received(receiver: AlertReceiver, *titles: str) -> None:
    def all_of_them() -> bool:
        missing = {f"{PREFIX}{title}" for title in titles} - set(receiver.titles)
        assert not missing, f"{missing} not among {receiver.titles}"
        return True

    await eventually(all_of_them, pause=0.2)


@pytest.mark.timeout(400)
async def test_three_processes_send_each_alert_of_a_bad_night_once(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    plan = await fleet.add_plan(connection)
    # 20 hours at 0.01 are left after the run, and the threshold is 72.
    poor = await fleet.add_organization(connection, balance="0.23")
    await fleet.add_instance(connection, poor, plan, hours_due=3)
    async with alert_receiver() as receiver:
        settings = {"ALERT_URLS": receiver.url, "ALERT_DELAY_MINUTES": "0", "ALERT_CHECK_SECONDS": "1"}
        web = await processes.start_web(database_url, **settings)
        daemon = await processes.start_billing_daemon(database_url, **settings)
        aggregator = await processes.start_stats_aggregator(database_url, **settings)

        await received(receiver, LOW)
        body = receiver.bodies[receiver.titles.index(PREFIX + LOW)]
        assert "the balance lasts for 20.0 hours, 1 instance." in body
        for _ in range(3):
            await processes.bill_once(database_url)

        await connection.execute(
            "update vps_billing_cycles set total_amount = total_amount + 1 where organization_id = $1",
            poor.id,
        )
        found = await processes.run("containerstacks", "verify", "--full", database_url=database_url)
        assert found.exit_code == 1
        await received(receiver, DAMAGE)
        await connection.execute(
            "update vps_billing_cycles set total_amount = total_amount - 1 where organization_id = $1",
            poor.id,
        )
        await processes.find_no_damage(database_url)
        await received(receiver, MENDED)

        await processes.succeed(
            *("containerstacks", "wallet", "credit", "--organization", str(poor.id)),
            *("--amount", str(Decimal(100)), "--reference", "paid"),
            database_url=database_url,
        )
        await received(receiver, LOW_OVER)

        await daemon.kill()
        await received(receiver, DOWN)
        await processes.start_billing_daemon(database_url, **settings)
        await received(receiver, BACK)
        assert (web.running, aggregator.running) == (True, True)
        # Without a delay, conditions of a moment at the start are sent as well.
        assert {title: receiver.titles.count(PREFIX + title) for title in TITLES} == dict.fromkeys(TITLES, 1)
