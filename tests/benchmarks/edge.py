"""What one edge serves per second, and what the platform behind it sees of the crowd."""

import re
import tempfile
import time
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from benchmarks.surroundings import asked, fresh_database, helper, real_services, size
from support.balancers import NGINX, Balancer, edge
from support.databases import DatabaseServer
from support.processes import LOCALHOST, Service

_VIEWS: Final = size("BENCH_EDGE_VIEWS", 100_000)
_CONNECTIONS: Final = size("BENCH_HTTP_CONNECTIONS", 32)
_ROUND_SECONDS: Final = 1.0
_FLEET: Final = 1_000
ANSWERED: Final = re.compile(
    r'^containerstacks_web_requests_total\{status="(?:200|304)"\} (\S+)', re.MULTILINE
)


async def answered(web: Service) -> float:
    """How many requests the web process has answered by now, unchanged ones included."""
    return sum(float(amount) for amount in ANSWERED.findall(await web.get_text("/metrics")))


async def measure(server: DatabaseServer) -> list[Result]:
    if NGINX is None:
        return []
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, _FLEET)
        with tempfile.TemporaryDirectory() as folder:
            async with (
                real_services(dsn) as web,
                edge(Path(folder), web.port, tls=False) as platform,
                helper("requester", _CONNECTIONS) as requester,
            ):
                page = len(await _compressed(platform, "/status"))
                rates: list[float] = []
                before, began = await answered(web), time.perf_counter()
                while sum(rates) * _ROUND_SECONDS < _VIEWS:
                    line = f"{platform.plain_port} /status {_ROUND_SECONDS}"
                    rates.append(float(await asked(requester, line)))
                seconds = time.perf_counter() - began
                seen = (await answered(web) - before) / seconds
    return [
        Result("a view of /status, compressed", page / 1000, "KB"),
        Result(f"{_VIEWS:,} views of /status from one edge", sum(rates) / len(rates), "requests/s"),
        Result("requests that the web process saw of them", seen, "requests/s", target="at most 1"),
    ]


async def _compressed(platform: Balancer, path: str) -> bytes:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as client,
        client.get(
            f"http://{LOCALHOST}:{platform.plain_port}{path}", headers={"Accept-Encoding": "gzip"}
        ) as answer,
    ):
        assert answer.headers["Content-Encoding"] == "gzip"
        return await answer.read()
