"""The service manager's watchdog is fed only while a service gets on: real processes, a real socket."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from support import charges
from support.processes import PORT_VARIABLES, Processes, Service
from support.waiting import LIMIT_SECONDS, eventually, time_limit, time_passes

WATCHDOG = {"WATCHDOG_USEC": "600000"}
DAEMON = "containerstacks-billing-daemon"
AGGREGATOR = "containerstacks-stats-aggregator"
BLOCKABLE = str(Path(__file__).parents[1] / "support" / "blockable")


@dataclass
class NotifySocket:
    """systemd's end: `address` is for `NOTIFY_SOCKET`; `received` has one item for each datagram."""

    address: str
    channel: socket.socket
    received: list[dict[str, str]] = field(default_factory=list)

    async def next_with(self, within: float = LIMIT_SECONDS, **facts: str) -> dict[str, str]:
        """Read until a datagram has these facts; a value need only begin like this."""
        async with time_limit(f"no datagram with {facts}; the last were {self.received[-5:]}", within=within):
            while True:
                found = await self.next()
                if all(name in found and found[name].startswith(value) for name, value in facts.items()):
                    return found

    async def next(self) -> dict[str, str]:
        datagram = await asyncio.get_running_loop().sock_recv(self.channel, 4096)
        return self._note(datagram)

    def take_all(self) -> list[dict[str, str]]:
        """Return what has arrived already, without waiting."""
        taken = []
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(self._note(self.channel.recv(4096)))
        return taken

    def _note(self, datagram: bytes) -> dict[str, str]:
        facts = dict(line.split("=", 1) for line in datagram.decode().splitlines())
        self.received.append(facts)
        return facts


@contextlib.contextmanager
def notify_socket(address: str | Path) -> Iterator[NotifySocket]:
    """Listen at a path, or at an abstract name that begins with @."""
    name = str(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        yield NotifySocket(name, channel)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[NotifySocket]:
    with notify_socket(tmp_path / "notify") as listening:
        yield listening


def standing_still(service: Service) -> Callable[[], bool]:
    return lambda: "standing still" in service.log


@pytest.mark.parametrize("command", PORT_VARIABLES)
async def test_a_service_announces_readiness_and_sends_keep_alives_until_its_loop_blocks(
    database_url: str, processes: Processes, manager: NotifySocket, command: str
) -> None:
    service = await processes.launch(
        command, database_url, NOTIFY_SOCKET=manager.address, PYTHONPATH=BLOCKABLE, **WATCHDOG
    )
    await manager.next_with(READY="1")
    assert await service.get_json("/readyz") == {"status": "ready"}
    assert all("WATCHDOG" not in facts for facts in manager.received)
    await manager.next_with(WATCHDOG="1")

    service.signal(signal.SIGUSR1)
    await eventually(standing_still(service))
    manager.take_all()
    await time_passes(1.5)
    assert manager.take_all() == []

    service.signal(signal.SIGUSR2)
    await manager.next_with(WATCHDOG="1")
    service.signal(signal.SIGTERM)
    await manager.next_with(STOPPING="1")
    assert await service.exited() == 0


async def test_keep_alives_stop_while_billing_makes_no_progress(
    database_url: str, connection: asyncpg.Connection, processes: Processes, manager: NotifySocket
) -> None:
    due = await charges.add_due_fleet(connection, organizations=1, instances=2, hours=5)
    await connection.execute(
        "alter table vps_billing_cycles add constraint refused check (total_amount < 0) not valid"
    )
    daemon = await processes.launch(DAEMON, database_url, NOTIFY_SOCKET=manager.address, **WATCHDOG)
    await manager.next_with(READY="1")
    stuck = await manager.next_with(STATUS="Stuck: hours since ")
    assert stuck["STATUS"].endswith(" UTC are due and not billed")
    for _ in range(3):
        assert "WATCHDOG" not in await manager.next()
    # Its loop is as alive as ever.
    assert await daemon.get_json("/healthz") == {"status": "alive"}

    await connection.execute("alter table vps_billing_cycles drop constraint refused")
    assert (await processes.run(DAEMON, "once", database_url=database_url)).exit_code == 0
    assert await charges.hours_billed(connection) == due.expected
    await manager.next_with(WATCHDOG="1", STATUS="Billing: last success ")
    assert await daemon.terminate() == 0


async def test_keep_alives_stop_while_folding_makes_no_progress(
    database_url: str, connection: asyncpg.Connection, processes: Processes, manager: NotifySocket
) -> None:
    aggregator = await processes.launch(AGGREGATOR, database_url, NOTIFY_SOCKET=manager.address, **WATCHDOG)
    await manager.next_with(WATCHDOG="1", STATUS="Leading: ")
    async with connection.transaction():
        await connection.execute("lock table count_deltas in access exclusive mode")
        await manager.next_with(STATUS="Stuck: folding has made no progress for ")
        for _ in range(3):
            assert "WATCHDOG" not in await manager.next()
    await manager.next_with(WATCHDOG="1", STATUS="Leading: ")
    assert await aggregator.terminate() == 0


async def test_a_standby_daemon_sends_keep_alives(
    database_url: str, connection: asyncpg.Connection, processes: Processes, manager: NotifySocket
) -> None:
    leader = await processes.start_billing_daemon(database_url)
    standby = await processes.launch(DAEMON, database_url, NOTIFY_SOCKET=manager.address, **WATCHDOG)
    await manager.next_with(WATCHDOG="1", STATUS="Standing by")
    assert await leader.terminate() == 0
    await manager.next_with(WATCHDOG="1", STATUS="Billing: ")
    assert await connection.fetchval("select term from leaderships where role = 'billing_daemon'") == 2
    assert await standby.terminate() == 0


async def test_a_service_that_cannot_start_is_never_ready(
    database_url: str, processes: Processes, manager: NotifySocket
) -> None:
    finished = await processes.run(
        DAEMON, database_url=database_url, NOTIFY_SOCKET=manager.address, BILLING_INTERVAL_MINUTES="0"
    )
    assert finished.exit_code == 2
    assert manager.take_all() == []


async def test_an_abstract_notify_socket_works(database_url: str, processes: Processes) -> None:
    with notify_socket(f"@containerstacks-tests-{uuid4()}") as manager:
        service = await processes.launch(AGGREGATOR, database_url, NOTIFY_SOCKET=manager.address)
        await manager.next_with(READY="1")
        assert await service.terminate() == 0
        assert manager.take_all()[-1]["STOPPING"] == "1"


async def test_a_service_outlives_its_service_manager(
    database_url: str, processes: Processes, tmp_path: Path
) -> None:
    path = tmp_path / "gone"
    with notify_socket(path) as manager:
        service = await processes.launch(AGGREGATOR, database_url, NOTIFY_SOCKET=manager.address, **WATCHDOG)
        await manager.next_with(WATCHDOG="1")
    path.unlink()
    assert await service.get_json("/readyz") == {"status": "ready"}
    assert await service.terminate() == 0
