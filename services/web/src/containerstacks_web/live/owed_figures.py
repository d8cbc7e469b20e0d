"""What is owed, for everything that administrators look at: it costs a look at every instance, not at each glance."""

import asyncio
from typing import Final

from containerstacks_shared.db import Connection
from containerstacks_shared.store.owed_hours import OwedHours, read_owed_hours

_SECONDS: Final = 30.0


class OwedFigures:
    """Read at most every half minute; `read_at` of the figures says when."""

    def __init__(self) -> None:
        self._last: OwedHours | None = None
        self._due = 0.0
        self._flight = asyncio.Lock()

    async def read(self, connection: Connection) -> OwedHours:
        clock = asyncio.get_running_loop().time
        async with self._flight:
            if self._last is None or clock() >= self._due:
                self._last = await read_owed_hours(connection)
                self._due = clock() + _SECONDS
            return self._last
