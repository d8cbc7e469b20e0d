"""What a request that is one too many costs, and what a flood from one address does to everybody else.

The floor of the cost is the same flood on a server that does nothing but answer.
"""

import asyncio
import json
import os
import time
from asyncio.subprocess import Process
from pathlib import Path

import aiohttp

from benchmarks.results import Result
from benchmarks.surroundings import asked, fresh_database, helper, open_processes, size
from support.databases import DatabaseServer
from support.processes import LOCALHOST, Service, free_port

_SECONDS = size("BENCH_FLOOD_SECONDS", 4)
_CONNECTIONS = 16
_PATH = "/api/health/stats"
_FLOOR_PATH = "/bytes/flooded"
_REQUESTS_PER_SECOND = 50
_SETTINGS = {"TRUSTED_PROXIES": LOCALHOST, "RATE_LIMIT_ANONYMOUS": "200/15 minutes"}


async def measure(server: DatabaseServer) -> list[Result]:
    floor_port = free_port()
    async with (
        fresh_database(server) as (dsn, _connection),
        helper("bare_server", dsn, floor_port) as bare,
        open_processes() as processes,
    ):
        web = await processes.start_web(dsn, **_SETTINGS)
        return await _measure(web, floor_port, bare.pid)


async def _measure(web: Service, floor_port: int, floor_pid: int) -> list[Result]:
    quiet = await _other_clients(web.port)
    async with helper("flood", LOCALHOST, web.port, _PATH, _CONNECTIONS) as flooding:
        before = _processor_seconds(web.pid)
        flood = asyncio.create_task(_flood(flooding))
        flooded = await _other_clients(web.port)
        answers = await flood
        spent = _processor_seconds(web.pid) - before
    floor = await _floor(floor_port, floor_pid)
    shed = answers["429"]
    served = sum(answers.values()) + len(flooded)
    cost = 1_000_000 * spent / served
    return [
        Result("a shed request, processor time", cost, "µs", floor, cost / floor, "ratio at most 4"),
        Result("shed of a flood from one address", shed / _SECONDS, "/s"),
        Result(
            "another client during the flood, p99",
            1000 * _p99(flooded),
            "ms",
            1000 * _p99(quiet),
            _p99(flooded) / _p99(quiet),
            "under 50 ms",
        ),
    ]


async def _flood(flooding: Process) -> dict[str, int]:
    answers: dict[str, int] = json.loads(await asked(flooding, str(_SECONDS)))
    return answers


async def _other_clients(port: int) -> list[float]:
    """Ask from ever other addresses at an even pace, and return how long each answer took."""
    clock = time.perf_counter
    took = []
    async with aiohttp.ClientSession(f"http://{LOCALHOST}:{port}") as session:
        began = clock()
        for number in range(_SECONDS * _REQUESTS_PER_SECOND):
            await asyncio.sleep(max(0.0, began + number / _REQUESTS_PER_SECOND - clock()))
            started = clock()
            headers = {"X-Forwarded-For": f"203.0.113.{number % 250}"}
            async with session.get(_PATH, headers=headers) as answer:
                assert answer.status == 200
                await answer.read()
            took.append(clock() - started)
    return took


async def _floor(port: int, pid: int) -> float:
    """Microseconds of processor time per request of a server that does nothing."""
    async with (
        aiohttp.ClientSession(f"http://{LOCALHOST}:{port}") as session,
        session.put(_FLOOR_PATH, data=b"x" * 300) as kept,
    ):
        assert kept.status == 200
    async with helper("flood", LOCALHOST, port, _FLOOR_PATH, _CONNECTIONS) as flooding:
        before = _processor_seconds(pid)
        answers = await _flood(flooding)
        spent = _processor_seconds(pid) - before
    return 1_000_000 * spent / sum(answers.values())


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
