"""An upgrade without an outage: each process is restarted, one after the other, under load and behind a real nginx."""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from acceptance.visitors import Browser, Requests
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import locks
from containerstacks_shared.database.locks import Role
from support import charges, promises
from support.balancers import Balancer, nginx
from support.charges import DueFleet
from support.packages import needs
from support.processes import LOCALHOST, Processes, Service
from support.waiting import eventually, session_waiting_for

BROWSERS = 20
VISITORS = (
    ("/status", "/api/health/stats", "/about"),
    ("/api/health/billing-daemon", "/status?range=7d", "/api/health/platform-stats"),
    ("/about", "/login", "/status", "/api/docs"),
)
STATUSES = ("running", "stopped", "error", "provisioning")
# One organization to a batch.
SETTINGS = {"BILLING_BATCH_INSTANCES": "4", "BILLING_CONCURRENCY": "1"}


class Load:
    """What goes on all the time, before a balancer and its two web processes."""

    def __init__(self, database_url: str, balancer: Balancer, webs: list[Service]) -> None:
        self.webs = webs
        self._database_url = database_url
        self._balancer = balancer
        self.requests = [Requests(paths) for paths in VISITORS]
        self.browsers = [Browser() for _ in range(BROWSERS)]
        self._calm = asyncio.Event()
        self._stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for visitor in self.requests:
                group.create_task(visitor.keep_asking(self._balancer, self._stop))
            for browser in self.browsers:
                group.create_task(browser.stay(self._balancer, self._stop))
            group.create_task(self._change_statuses())
            try:
                yield
            finally:
                self._calm.set()
                self._stop.set()

    def calm(self) -> None:
        """Let no status change any more; everybody stays."""
        self._calm.set()

    @property
    def everybody_is_here(self) -> bool:
        return all(browser.is_open for browser in self.browsers)

    async def answers(self, more: int = 60) -> None:
        """Wait until so many further requests were answered."""
        enough = sum(visitor.answered for visitor in self.requests) + more
        await eventually(lambda: sum(visitor.answered for visitor in self.requests) >= enough)

    async def _change_statuses(self) -> None:
        connection = await asyncpg.connect(self._database_url)
        for status in itertools.cycle(STATUSES):
            await connection.execute(
                "update vps_instances set status = $1"
                " where id = (select id from vps_instances order by random() limit 1)",
                status,
            )
            if await wait_for_event(self._calm, 0.05):
                break
        await connection.close()


@pytest.fixture
async def load(database_url: str, processes: Processes, tmp_path: Path) -> AsyncIterator[Load]:
    webs = [await start_web(processes, database_url) for _ in range(2)]
    folder = tmp_path / "nginx"
    folder.mkdir()
    async with nginx(folder, [web.port for web in webs]) as balancer:
        yield Load(database_url, balancer, webs)


@needs("nginx-light")
@pytest.mark.timeout(300)
async def test_no_request_fails_no_browser_is_lost_and_no_hour_is_billed_twice(
    database_url: str,
    connection: asyncpg.Connection,
    processes: Processes,
    load: Load,
    record_property: Callable[[str, object], None],
) -> None:
    due = await charges.add_due_fleet(connection, organizations=4)
    daemons = [await processes.start_billing_daemon(database_url, **SETTINGS) for _ in range(2)]
    aggregators = [await processes.start_stats_aggregator(database_url) for _ in range(2)]
    await eventually(lambda: all_billed(connection, due))
    async with load.going_on():
        await eventually(lambda: load.everybody_is_here)

        # The aggregators: whichever leads, the other one goes on.
        for aggregator in aggregators:
            assert await aggregator.terminate() == 0, aggregator.log
            await processes.start_stats_aggregator(database_url, STATS_AGGREGATOR_PORT=str(aggregator.port))
            await eventually(lambda: locks.is_held(connection, Role.STATS_AGGREGATOR))

        # The daemons: the one that takes over has hours to bill, and is itself restarted in the middle of that.
        more = await charges.add_due_fleet(connection, organizations=8)
        async with charges.wallet_locked(database_url, more.organizations[4]) as holder:
            await restart_daemon(processes, database_url, daemons[0])
            await session_waiting_for(connection, holder)
            billed = await charges.hours_billed(connection)
            assert len(due.expected) < len(billed) < len(due.expected | more.expected)
            daemons[1].signal(signal.SIGTERM)
            await eventually(daemons[1].is_stopping)
        await restart_daemon(processes, database_url, daemons[1])
        await eventually(lambda: all_billed(connection, due, more))

        # The web processes: the next one goes when nginx has sent visitors to the one before it again.
        for web in load.webs:
            assert await web.terminate() == 0, web.log
            restarted = await start_web(processes, database_url, PORT=str(web.port))
            await has_visitors(restarted)
        await load.answers()
        await eventually(lambda: load.everybody_is_here)
        load.calm()
        await eventually(lambda: everybody_sees_the_truth(connection, load))

    failed = [failure for visitor in load.requests for failure in visitor.failed]
    assert failed == []
    absences = [absence for browser in load.browsers for absence in browser.absences]
    # Each browser was on one of the two and lost it at least once.
    assert all(browser.absences for browser in load.browsers)
    record_property(
        "survived",
        f"a rolling restart under {sum(visitor.answered for visitor in load.requests)} requests;"
        f" browsers were back after {max(absences):.1f} s at most",
    )
    assert max(absences) <= promises.BACK_SECONDS
    assert await charges.hours_billed(connection) == due.expected | more.expected
    await processes.find_no_damage(database_url)


async def start_web(processes: Processes, database_url: str, **settings: str) -> Service:
    return await processes.start_web(
        database_url,
        TRUSTED_PROXIES=LOCALHOST,
        RATE_LIMIT_ANONYMOUS="100000/15 minutes",
        RATE_LIMIT_PUBLIC="100000/minute",
        # Like a daemon: where the next one is slow to take over, web bills.
        **SETTINGS,
        **settings,
    )


async def restart_daemon(processes: Processes, database_url: str, daemon: Service) -> None:
    assert await daemon.terminate() == 0, daemon.log
    await processes.start_billing_daemon(database_url, **SETTINGS, BILLING_DAEMON_PORT=str(daemon.port))


async def has_visitors(web: Service) -> None:
    """Wait until the balancer sends requests to it again."""
    await eventually(lambda: '"path": "/about"' in web.log)


async def all_billed(connection: asyncpg.Connection, *fleets: DueFleet) -> bool:
    assert await charges.hours_billed(connection) == expected_of(*fleets)
    return True


def expected_of(*fleets: DueFleet) -> dict[UUID, int]:
    return {instance: hours for due in fleets for instance, hours in due.expected.items()}


async def everybody_sees_the_truth(connection: asyncpg.Connection, load: Load) -> bool:
    rows = await connection.fetch("select status, count(*) as amount from vps_instances group by status")
    truth = {row["status"]: row["amount"] for row in rows}
    for browser in load.browsers:
        assert browser.newest is not None
        shown = browser.newest["vps"]["byStatus"]
        assert {status: shown[status] for status in STATUSES} == dict.fromkeys(STATUSES, 0) | truth
    return True
