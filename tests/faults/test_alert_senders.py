"""Real processes send alerts: a sender that is killed in the middle leaves its message to another one."""

from datetime import timedelta

import asyncpg

from support.alert_receiver import TOKEN, alert_receiver
from support.clock import shift_clock
from support.processes import Processes
from support.waiting import becomes, eventually

NOBODY = "[ContainerStacks] Hourly billing is not running"
# Longer than a claim lasts.
LATER = timedelta(seconds=31)


async def test_an_alert_of_a_killed_process_is_sent_once_by_another(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    async with alert_receiver() as receiver:
        settings = {"ALERT_URLS": receiver.url, "ALERT_DELAY_MINUTES": "0", "TEST_CLOCK": "1"}
        receiver.open.clear()
        killed = await processes.start_stats_aggregator(database_url, LOG_LEVEL="debug", **settings)
        await eventually(lambda: receiver.calls > 0)
        await killed.kill()
        receiver.open.set()
        assert TOKEN not in killed.log
        # The sender cannot know whether it arrived: only this call may come twice.
        begun = len(receiver.titles)
        await shift_clock(connection, LATER)
        first = await processes.start_stats_aggregator(database_url, **settings)
        second = await processes.start_stats_aggregator(database_url, **settings)
        waiting = "select count(*) from outbox_messages where outcome is null"
        await becomes(lambda: connection.fetchval(waiting), 0)
        assert receiver.titles[begun:].count(NOBODY) == 1
        assert (first.running, second.running) == (True, True)


async def test_the_command_tries_each_url_and_names_the_one_that_failed(
    database_url: str, processes: Processes
) -> None:
    async with alert_receiver() as receiver:
        good = await processes.run(
            "containerstacks", "alerts", "test", database_url=database_url, ALERT_URLS=receiver.url
        )
        assert (good.exit_code, good.output) == (0, "URL 1 (JSON): delivered\n")
        assert receiver.titles == ["[ContainerStacks] Test of an alert"]
        urls = f"{receiver.url}\njson://127.0.0.1:1/secret-path"
        bad = await processes.run(
            "containerstacks", "alerts", "test", database_url=database_url, ALERT_URLS=urls
        )
        assert bad.exit_code == 1
        assert "URL 1 (JSON): delivered\nURL 2 (JSON): failed: " in bad.output
        assert "secret-path" not in bad.output + bad.errors
    wrong = await processes.run(
        "containerstacks", "alerts", "test", database_url=database_url, ALERT_URLS="bogus://secret"
    )
    assert wrong.exit_code == 2
    assert "ALERT_URLS: URL 1 of 1" in wrong.errors
    assert "secret" not in wrong.errors
    listed = await processes.run("containerstacks", "alerts", "list", database_url=database_url)
    assert (listed.exit_code, listed.output) == (0, "There was no alert.\n")
