"""Waiting with a limit, or for the first of several events."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `event`, at most `seconds`. Returns whether it was set."""
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def in_own_task(work: Coroutine[Any, Any, Result]) -> Result:
    """Do `work` in a task of its own, so that the caller can go on after a task group in it has failed.

    A failing group may leave its task with a cancellation request that nobody takes back. In such a task Python before
    3.11.3 raises `CancelledError` when a time limit passes, and an ordinary timeout ends the process.
    """
    return await asyncio.create_task(work)


async def race(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of them ends; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                # An error raised by a cancelled wait (a rollback on a dead session) does not matter.
                task.exception()


async def all_of(*work: Coroutine[Any, Any, object]) -> None:
    """Wait until all have ended. The first failure cancels the others and is raised by itself, not in a group."""

    async def side_by_side() -> None:
        async with asyncio.TaskGroup() as group:
            for part in work:
                group.create_task(part)

    failure = None
    try:
        await in_own_task(side_by_side())
    except BaseExceptionGroup as failures:
        failure = failures.exceptions[0]
    if failure is not None:
        # Outside of the handler above, which would replace the failure's own cause.
        raise failure


@asynccontextmanager
async def any_event(*events: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """Yield one event that is set as soon as any of these is."""
    some = asyncio.Event()
    if any(event.is_set() for event in events):
        some.set()

    async def relay() -> None:
        await race(*(event.wait() for event in events))
        some.set()

    relaying = asyncio.create_task(relay())
    try:
        yield some
    finally:
        relaying.cancel()
        await asyncio.wait([relaying])
