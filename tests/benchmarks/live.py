"""From a commit to every browser, beside a bare NOTIFY whose callback writes the same bytes to the same browsers.

Latency counts from the moment at which COMMIT is sent to the moment at which a browser has the state, so it
holds the commit's own flush on both sides.
"""

import asyncio
import contextlib
import json
import random
import socket
import statistics
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import asyncpg

from benchmarks.bare_server import CHANNEL
from benchmarks.crowd import upgrade_request
from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from benchmarks.surroundings import (
    asked,
    bare_server,
    first_run_ended,
    fresh_database,
    helper,
    real_services,
    size,
)
from support.databases import DatabaseServer
from support.processes import LOCALHOST, Service, free_port

_CLIENTS = size("BENCH_LIVE_CLIENTS", 2_000)
_FAN_OUT = size("BENCH_LIVE_FAN_OUT", 5_000)
_COMMITS = size("BENCH_LIVE_COMMITS", 40)
_RUNS = size("BENCH_LIVE_RUNS", 5)
_FLEET = 10_000
_SETTLE_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0
_CHANGES = 9

_REAL = "update vps_instances set status = 'failed' where id = $1"
_FLOOR = "update floor_instances set status = 'failed' where id = $1"
_FLOOR_TABLE = """
create table floor_instances (like vps_instances including all excluding generated);
insert into floor_instances select * from vps_instances;
create trigger touch before update on floor_instances for each row execute function update_updated_at_column();
"""


@dataclass
class Writer:
    """Puts one instance after the other into error; how many there are now is what browsers look for."""

    connection: asyncpg.Connection
    instances: list[UUID]
    floor: bool = False
    done: int = 0
    committed: list[tuple[int, float]] = field(default_factory=list)

    async def commit(self) -> None:
        instance = self.instances[self.done]
        self.done += 1
        transaction = self.connection.transaction()
        await transaction.start()
        await self.connection.execute(_FLOOR if self.floor else _REAL, instance)
        if self.floor:
            await self.connection.execute("select pg_notify($1, $2)", CHANNEL, str(self.done))
        self.committed.append((self.done, time.monotonic()))
        await transaction.commit()

    async def commit_at(self, rate: float, commits: int) -> None:
        """Commit so many times, at irregular moments, but at least half a step apart."""
        clock = asyncio.get_running_loop().time
        began = clock()
        for number in range(commits):
            due = began + (number + random.uniform(0, 0.5)) / rate
            await asyncio.sleep(max(0.0, due - clock()))
            await self.commit()

    def take_commits(self) -> list[tuple[int, float]]:
        committed, self.committed = self.committed, []
        return committed


@dataclass
class Sides:
    """What is measured, and its floor, on one database."""

    dsn: str
    web: Service
    writer: Writer
    floor_port: int
    floor_writer: Writer

    @contextlib.asynccontextmanager
    async def crowds(self, clients: int) -> AsyncIterator[tuple[Process, Process]]:
        async with (
            crowd(self.web.port, "/ws/status", clients) as ours,
            crowd(self.floor_port, "/ws", clients) as bare,
        ):
            yield ours, bare


async def measure(server: DatabaseServer) -> list[Result]:
    async with _both_sides(server) as sides:
        return [
            *await _one_client(sides),
            await _many_clients(sides),
            *await _fan_out(sides.web, sides.writer),
            await _beside_a_stalled_one(sides.dsn),
        ]


async def measure_browsers(server: DatabaseServer) -> list[Result]:
    """Measure many browsers several times, each time with new processes: what one run says may be luck."""
    runs: list[list[Result]] = []
    for number in range(1, 1 + _RUNS):
        async with _both_sides(server) as sides, sides.crowds(_CLIENTS) as crowds:
            real, least = await _in_turns(sides, crowds, rate=5, commits=_COMMITS)
        name = f"{_CLIENTS:,} browsers, 5 commits/s"
        runs.append(
            [
                _latency(f"{name}, p50", real, least, 0.5, "ratio at most 1.5"),
                _latency(f"{name}, p99", real, least, 0.99, "ratio at most 1.5"),
            ]
        )
        found = "; ".join(f"{each.value:.1f} of {each.floor:.1f} ms, {each.ratio:.2f}" for each in runs[-1])
        print(f"Run {number} of {_RUNS}, p50 and p99: {found}", file=sys.stderr, flush=True)  # noqa: T201 - told while it goes on
    return [
        replace(chosen, name=f"{chosen.name}, {which} of {_RUNS} runs")
        for of_all_runs in zip(*runs, strict=True)
        for by_ratio in (sorted(of_all_runs, key=lambda run: run.ratio or 0.0),)
        for which, chosen in (("median", by_ratio[_RUNS // 2]), ("worst", by_ratio[-1]))
    ]


@contextlib.asynccontextmanager
async def _both_sides(server: DatabaseServer) -> AsyncIterator[Sides]:
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, _FLEET)
        await connection.execute(_FLOOR_TABLE)
        instances = [row["id"] for row in await connection.fetch("select id from vps_instances")]
        async with bare_server(dsn) as floor_port, real_services(dsn) as web:
            await first_run_ended(connection)
            yield Sides(
                dsn, web, Writer(connection, instances), floor_port, Writer(connection, instances, floor=True)
            )


async def _one_client(sides: Sides) -> list[Result]:
    async with sides.crowds(1) as crowds:
        real, least = await _in_turns(sides, crowds, rate=8, commits=4 * _COMMITS)
    return [
        _latency("commit to one browser, p50", real, least, 0.5, "under 8 ms"),
        _latency("commit to one browser, p99", real, least, 0.99, "under 25 ms"),
    ]


async def _many_clients(sides: Sides) -> Result:
    async with crowd(sides.web.port, "/ws/status", _CLIENTS, reads_at_once=True) as browsers:
        await sides.writer.commit_at(100, 10 * _COMMITS)
        await asyncio.sleep(_SETTLE_SECONDS)
        made = sides.writer.take_commits()
        behind = latencies(made, await seen_by_all(browsers, made))
    return Result(
        f"{_CLIENTS:,} browsers, 100 commits/s, largest delay",
        1000 * behind[-1],
        "ms",
        target="under 200 ms",
    )


async def _fan_out(web: Service, writer: Writer) -> list[Result]:
    before = _memory(web)
    async with crowd(web.port, "/ws/status", _FAN_OUT) as browsers:
        await asyncio.sleep(_SETTLE_SECONDS)
        memory = (_memory(web) - before) / _FAN_OUT
        await writer.commit_at(2, _CHANGES)
        await asyncio.sleep(_SETTLE_SECONDS)
        made = writer.take_commits()
        arrivals = await seen_by_all(browsers, made)
    last = [latencies([commit], arrivals)[-1] for commit in made]
    return [
        Result(
            f"one change to {_FAN_OUT:,} browsers, until the last one has it",
            1000 * statistics.median(last),
            "ms",
            target="under 150 ms",
        ),
        Result("memory per connection", memory / 1024, "KiB", target="under 25 KiB"),
    ]


async def _beside_a_stalled_one(dsn: str) -> Result:
    """Two hubs with as many browsers each; at one of them one more has stopped reading.

    All of it has to happen before the hub takes that one for dead, half a minute after it connected.
    """
    ports = (free_port(), free_port())
    last: tuple[list[float], list[float]] = ([], [])
    async with contextlib.AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(helper("hub_server", dsn, port)) for port in ports]
        await stack.enter_async_context(_never_reading(ports[1]))
        await asked(hubs[1], "fill")
        # Who connects now is greeted with the newest, which should be of the usual size again.
        await asked(hubs[1], "publish 0")
        crowds = [await stack.enter_async_context(crowd(port, "/ws/status", _FAN_OUT)) for port in ports]
        for number in range(1, 1 + _CHANGES):
            for hub, browsers, times in zip(hubs, crowds, last, strict=True):
                published = float(await asked(hub, f"publish {number}"))
                await asyncio.sleep(_SETTLE_SECONDS / 2)
                made = [(number, published)]
                times.append(latencies(made, await seen_by_all(browsers, made))[-1])
    alone, beside = (1000 * statistics.median(times) for times in last)
    return Result(
        f"last of {_FAN_OUT:,} browsers beside one that stopped reading",
        beside,
        "ms",
        alone,
        beside / alone,
        "under 5 ms more",
    )


async def _in_turns(
    sides: Sides, crowds: tuple[Process, Process], *, rate: float, commits: int
) -> tuple[list[float], list[float]]:
    """Commit here and there by turns, so that whatever else the machine does meets both.

    `rate` is that of all commits.
    """
    writers = (sides.writer, sides.floor_writer)
    clock = asyncio.get_running_loop().time
    began = clock()
    for number in range(2 * commits):
        due = began + (number + random.uniform(0, 0.5)) / rate
        await asyncio.sleep(max(0.0, due - clock()))
        await writers[number % 2].commit()
    await asyncio.sleep(_SETTLE_SECONDS)
    made = [writer.take_commits() for writer in writers]
    real, floor = [
        latencies(commits, await seen_by_all(browsers, commits))
        for browsers, commits in zip(crowds, made, strict=True)
    ]
    return real, floor


def latencies(
    commits: Sequence[tuple[int, float]], browsers: Sequence[Sequence[tuple[int, float]]]
) -> list[float]:
    """Return how long each browser took to have each commit, or a newer one; sorted."""
    times = []
    for arrivals in browsers:
        arrival = iter(arrivals)
        number, at = next(arrival)
        for wanted, committed in commits:
            while number < wanted:
                number, at = next(arrival)
            times.append(at - committed)
    return sorted(times)


def _latency(name: str, real: list[float], floor: list[float], quantile: float, target: str) -> Result:
    value, least = (1000 * _at(quantile, times) for times in (real, floor))
    return Result(name, value, "ms", least, value / least, target)


def _at(quantile: float, times: list[float]) -> float:
    return times[int(quantile * (len(times) - 1))]


# Browsers ---------------------------------------------------------------------------------------


def crowd(
    port: int, path: str, clients: int, *, reads_at_once: bool = False
) -> contextlib.AbstractAsyncContextManager[Process]:
    return helper("crowd", LOCALHOST, port, path, clients, *(["at-once"] if reads_at_once else []))


async def seen_by_all(
    browsers: Process, commits: Sequence[tuple[int, float]]
) -> list[list[tuple[int, float]]]:
    """Return what each browser has seen, as soon as all have the newest."""
    everything = await seen(browsers)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while any(not arrivals or arrivals[-1][0] < commits[-1][0] for arrivals in everything):
            await asyncio.sleep(_SETTLE_SECONDS)
            for arrivals, more in zip(everything, await seen(browsers), strict=True):
                arrivals += more  # noqa: PLW2901 - added to
    return everything


async def seen(browsers: Process) -> list[list[tuple[int, float]]]:
    """Return what each browser has seen since it was last asked."""
    answer: list[list[tuple[int, float]]] = json.loads(await asked(browsers))
    return answer


@contextlib.asynccontextmanager
async def _never_reading(port: int) -> AsyncIterator[None]:
    """Connect a browser and leave what arrives where it is."""
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, (LOCALHOST, port))
        await loop.sock_sendall(connection, upgrade_request("/ws/status", port))
        assert (await loop.sock_recv(connection, 12)) == b"HTTP/1.1 101"
        yield


def _memory(service: Service) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{service.pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096
