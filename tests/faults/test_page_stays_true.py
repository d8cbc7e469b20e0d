"""A partition, a full server, a slow stop, a suspend: the page is soon current, and each hour is billed once."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg

from containerstacks_shared.billing.verify import Severity, verify
from containerstacks_shared.schema import migrate
from support import charges, databases, fleet, promises, roles
from support.alert_receiver import alert_receiver
from support.clock import shift_clock
from support.dark_proxy import DarkProxy
from support.freezing import frozen
from support.headline import headline
from support.live_page import open_page
from support.processes import Processes, Service
from support.waiting import becomes, eventually

HOURS = 3
CONNECTIONS_MAX = 40
ACTIVE = "select holder from leaderships where role = 'builtin_billing'"
END_SESSIONS = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
 where datname = current_database() and application_name like 'containerstacks-%'
"""


async def total_of(web: Service) -> int:
    return int((await web.get_json("/api/health/stats"))["vps"]["total"])


async def shows(web: Service, total: int, within: float = promises.SUCCEEDED_SECONDS) -> None:
    await becomes(lambda: total_of(web), total, within, pause=0.2)


async def assert_billed_once(connection: asyncpg.Connection, expected: Any) -> None:
    assert await charges.hours_billed(connection) == expected
    assert [each for each in await verify(connection) if each.severity is Severity.OWN] == []


async def test_replicas_beside_one_in_a_partition_stay_true_and_bill_in_its_place(
    database_url: str, connection: asyncpg.Connection, processes: Processes, proxy: DarkProxy
) -> None:
    # Only the replicas bill, and the first one leads.
    cut_off = await processes.start_web(proxy.dsn)

    async def leads(web: Service) -> bool:
        return str(await connection.fetchval(ACTIVE)).endswith(f"-{web.pid}")

    await eventually(lambda: leads(cut_off))
    others = [await processes.start_web(database_url) for _ in range(2)]
    proxy.go_dark()
    due = await charges.add_due_fleet(connection, organizations=2, instances=2, hours=HOURS)
    for web in others:
        await shows(web, 4)
        assert await headline(web) != "Status is delayed"
    await becomes(
        lambda: headline(cut_off),
        "Status is delayed",
        promises.STALE_SECONDS + promises.SHOWN_WITHOUT_HINT_SECONDS,
        pause=0.2,
    )
    await becomes(lambda: charges.hours_billed(connection), due.expected)
    assert not await leads(cut_off)
    proxy.go_light()
    await shows(cut_off, 4)
    await assert_billed_once(connection, due.expected)


async def test_a_server_out_of_connections_is_reported_and_recovered_from(processes: Processes) -> None:
    with databases.embedded_postgres({"max_connections": str(CONNECTIONS_MAX)}) as postgres:
        dsn = await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(migrate, dsn)
        roles.grant(dsn)
        connection = await databases.connect(dsn)
        web = await processes.start_web(roles.as_role(dsn, roles.WEB))
        daemon = await processes.start_billing_daemon(roles.as_role(dsn, roles.BILLING_DAEMON))
        organization = await fleet.add_organization(connection, balance="10")
        await shows(web, 0)
        async with crowd(roles.as_role(dsn, roles.STATS_AGGREGATOR)):
            # A process that has sessions continues.
            await fleet.add_instance(
                connection, organization, await fleet.add_plan(connection), hours_due=HOURS
            )
            await shows(web, 1)
            async with crowd(roles.as_role(dsn, roles.STATS_AGGREGATOR), instead_of_services=connection):
                await becomes(
                    lambda: headline(web),
                    "Status is delayed",
                    promises.STALE_SECONDS + promises.SHOWN_WITHOUT_HINT_SECONDS,
                )
                assert daemon.running
                await fleet.add_user(connection)
                await connection.execute("update vps_instances set status = 'error'")

        async def true_again() -> bool:
            document = await web.get_json("/api/health/stats")
            assert document["vps"]["byStatus"]["error"] == 1, document
            return await headline(web) != "Status is delayed"

        await eventually(true_again, promises.SUCCEEDED_SECONDS, pause=0.2)

        async def billed() -> bool:
            return sum((await charges.hours_billed(connection)).values()) == HOURS

        await eventually(billed)
        await assert_billed_once(connection, await charges.hours_billed(connection))
        await connection.close()


@contextlib.asynccontextmanager
async def crowd(dsn: str, *, instead_of_services: asyncpg.Connection | None = None) -> AsyncIterator[None]:
    """Take every session that ordinary roles may have; with an administrator's session, those of the services too."""
    sessions: list[asyncpg.Connection] = []

    async def take_all() -> None:
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while True:
                sessions.append(await asyncpg.connect(dsn))

    async def all_sessions_are_taken() -> bool:
        # A service may be quicker to take the place of its own session, once or twice.
        assert instead_of_services is not None
        ended: int = await instead_of_services.fetchval(END_SESSIONS)
        await take_all()
        return ended == 0

    try:
        await take_all()
        if instead_of_services is not None:
            await eventually(all_sessions_are_taken)
        yield
    finally:
        for session in sessions:
            await session.close()


async def test_pages_stay_live_while_a_stopping_process_finishes_its_work(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    await fleet.add_instance(connection)
    async with alert_receiver() as receiver:
        receiver.open.clear()
        settings = {"ALERT_URLS": receiver.url, "ALERT_DELAY_MINUTES": "0", "ALERT_CHECK_SECONDS": "1"}
        web = await processes.start_web(database_url, **settings)
        async with open_page(web) as page:
            # Its work in hand is a call that is not answered yet.
            await eventually(lambda: receiver.calls > 0)
            web.signal(signal.SIGTERM)
            await eventually(web.is_stopping)
            await connection.execute("update vps_instances set status = 'error'")
            await page.next_with(promises.SHOWN_SECONDS, error=1)
            receiver.open.set()
            assert await web.exited() == 0, web.log


async def test_after_an_hour_of_suspend_the_page_is_current_and_the_hour_billed_once(
    database_url: str, connection: asyncpg.Connection, processes: Processes
) -> None:
    due = await charges.add_due_fleet(connection, organizations=2, instances=2, hours=HOURS)
    daemon = await processes.start_billing_daemon(database_url, TEST_CLOCK="1")
    web = await processes.start_web(database_url, TEST_CLOCK="1")
    aggregator = await processes.start_stats_aggregator(database_url, TEST_CLOCK="1")

    async def is_true(hours: int) -> bool:
        assert await charges.hours_billed(connection) == dict.fromkeys(due.expected, hours)
        document = await web.get_json("/api/status/components")
        billing = await web.get_json("/api/health/billing-daemon")
        assert billing["daemon"]["status"] == "running"
        states = {each["component"]: each["state"] for each in document["components"]}
        assert set(states.values()) == {"operational"}, states
        return True

    await eventually(lambda: is_true(HOURS), pause=0.5)
    with frozen(*sleeping(web, daemon, aggregator)):
        # Sessions read the clock's setting when they begin, and a machine that sleeps has none that go on.
        await shift_clock(connection, timedelta(hours=1))
        await connection.execute(END_SESSIONS)
    await eventually(lambda: is_true(HOURS + 1), promises.SUCCEEDED_SECONDS, pause=0.5)
    await assert_billed_once(connection, dict.fromkeys(due.expected, HOURS + 1))
    assert await connection.fetchval("select count(*) from component_history where down > 0") == 0


def sleeping(*services: Service) -> Iterator[int]:
    return (service.pid for service in services)
