"""Requests per second, beside a bare aiohttp handler that returns the same bytes."""

import statistics

from benchmarks.fleets import make_fleet
from benchmarks.results import Result
from benchmarks.surroundings import (
    asked,
    bare_server,
    copy_answer,
    fresh_database,
    helper,
    real_services,
    size,
)
from support.databases import DatabaseServer
from support.processes import LOCALHOST

_CONNECTIONS = size("BENCH_HTTP_CONNECTIONS", 32)
_ROUNDS = size("BENCH_HTTP_ROUNDS", 7)
_ROUND_SECONDS = 1.0
_FLEET = 1_000
_TARGETS = {"/api/health/stats": "at least 0.6 of the floor", "/status": "at least 0.4 of the floor"}


async def measure(server: DatabaseServer) -> list[Result]:
    results = []
    async with fresh_database(server) as (dsn, connection):
        await make_fleet(connection, _FLEET)
        async with (
            bare_server(dsn) as port,
            real_services(dsn) as web,
            helper("requester", _CONNECTIONS) as requester,
        ):
            for path, target in _TARGETS.items():
                copy = "/bytes/" + path.rpartition("/")[2]
                await copy_answer(web.url + path, f"http://{LOCALHOST}:{port}{copy}")
                ratios, rates, floors = [], [], []
                for _ in range(_ROUNDS):
                    floors.append(float(await asked(requester, f"{port} {copy} {_ROUND_SECONDS}")))
                    rates.append(float(await asked(requester, f"{web.port} {path} {_ROUND_SECONDS}")))
                    ratios.append(rates[-1] / floors[-1])
                results.append(
                    Result(
                        f"GET {path}",
                        statistics.median(rates),
                        "requests/s",
                        statistics.median(floors),
                        statistics.median(ratios),
                        target,
                    )
                )
    return results
