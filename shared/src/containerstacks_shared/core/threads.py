"""Work that may hang, in threads that keep no process from ending."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


def in_own_thread(work: Callable[[], object], *, name: str) -> asyncio.Event:
    """Start `work`. The event is set when it has ended, however it did.

    Threads of a pool, as `asyncio.to_thread` uses, are waited for when the process ends; this one is not.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            # The loop is closed when the process ends meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, name=name, daemon=True).start()
    return ended
