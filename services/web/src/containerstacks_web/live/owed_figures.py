"""What is owed, for administrators' pages. Reading it reads every instance, so the figures are kept for a while."""

import asyncio
from datetime import timedelta
from typing import Final

from containerstacks_shared.billing.progress import Progress, read_progress
from containerstacks_shared.database.db import Connection

_SECONDS: Final = 30.0


class OwedFigures:
    """Read at most every half minute; `owed.read_at` says when."""

    def __init__(self, *, billing_interval: timedelta) -> None:
        self._billing_interval = billing_interval
        self._last: Progress | None = None
        self._due = 0.0
        self._flight = asyncio.Lock()

    async def read(self, connection: Connection) -> Progress:
        clock = asyncio.get_running_loop().time
        async with self._flight:
            if self._last is None or clock() >= self._due:
                self._last = await read_progress(connection, interval=self._billing_interval)
                self._due = clock() + _SECONDS
            return self._last
