"""Records when API keys were last used: rarely, in one batch, and never while a request waits."""

import asyncio
from typing import Final
from uuid import UUID

import structlog
from aiohttp import web

from containerstacks_shared.core.errors import describe
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet import api_keys

_EVERY_SECONDS: Final = 60.0
# A stop writes once more, and must not wait for a database that is silent.
_WRITE_SECONDS_MAX: Final = 3.0

_log = structlog.get_logger(__name__)


class KeyUses:
    def __init__(self, pool: db.Pool) -> None:
        self._pool = pool
        self._used: set[UUID] = set()

    def note(self, key_id: UUID) -> None:
        self._used.add(key_id)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await wait_for_event(stop, _EVERY_SECONDS)
            await self.write()

    async def write(self) -> None:
        if not self._used:
            return
        used, self._used = self._used, set()
        try:
            async with lend(self._pool, within=_WRITE_SECONDS_MAX) as connection:
                await api_keys.note_uses(connection, used)
        except db.FAILURES as error:
            # No retry: the next use records it again.
            _log.warning("key_uses.database_away", error=describe(error))


KEY_USES: Final = web.AppKey("key_uses", KeyUses)
