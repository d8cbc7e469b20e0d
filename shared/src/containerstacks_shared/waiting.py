"""Waiting that has a limit."""

import asyncio


async def happens_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `event`, at most so long. Whether it happened."""
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
