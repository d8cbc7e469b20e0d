"""Running a job for the length of a block, as the runtime does for the length of a process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from containerstacks_shared.process.runtime import Job


@contextlib.asynccontextmanager
async def running(job: Job, *, stops_within: float = 10.0) -> AsyncIterator[asyncio.Event]:
    """Give the job's stop event; when the block ends, the job must return in time and without an error."""
    stop = asyncio.Event()

    async def run() -> None:
        await job.run(stop)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(), name=job.name)
        try:
            yield stop
        finally:
            stop.set()
            async with asyncio.timeout(stops_within):
                await asyncio.wait([task])
