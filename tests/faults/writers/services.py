"""The real services during the campaign: after each phase they must show the real counts."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from support.processes import Processes, Service
from support.waiting import eventually

_TOTAL = "select count(*) from vps_instances"
_UNFOLDED = "select count(*) from count_deltas"


@dataclass(frozen=True)
class Services:
    web: Service
    daemon: Service
    aggregator: Service

    @property
    def all(self) -> list[Service]:
        return [self.web, self.daemon, self.aggregator]

    async def check_counts(self, connection: asyncpg.Connection) -> None:
        """Check that every service still runs, that the counts are folded, and that the page shows them."""
        for service in self.all:
            assert service.running, service.log
        total = await connection.fetchval(_TOTAL)

        async def shown() -> bool:
            assert await connection.fetchval(_UNFOLDED) == 0
            document = await self.web.get_json("/api/health/stats")
            assert document["vps"]["total"] == total, (document, total)
            return True

        await eventually(shown, pause=0.2)


@contextlib.asynccontextmanager
async def running_services(folder: Path, dsn: str) -> AsyncIterator[Services]:
    processes = Processes(folder)
    settings = {"TEST_CLOCK": "1", "RATE_LIMIT_ANONYMOUS": "100000/minute"}
    try:
        yield Services(
            await processes.start_web(dsn, **settings),
            await processes.start_billing_daemon(dsn, **settings),
            await processes.start_stats_aggregator(dsn, **settings),
        )
    finally:
        await processes.end_all()
