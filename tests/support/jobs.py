"""Running jobs for the length of a block, as the runtime does for the length of a process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from containerstacks_shared.process.runtime import Job


@contextlib.asynccontextmanager
async def running(*jobs: Job, stops_within: float = 10.0) -> AsyncIterator[asyncio.Event]:
    """Give the jobs' stop event; when the block ends, each must return in time and without an error."""
    stop = asyncio.Event()

    async def run(job: Job) -> None:
        await job.run(stop)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(job), name=job.name) for job in jobs]
        try:
            yield stop
        finally:
            stop.set()
            async with asyncio.timeout(stops_within):
                await asyncio.wait(tasks)
