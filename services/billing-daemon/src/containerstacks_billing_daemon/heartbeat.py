"""The heartbeat: what tells the built-in biller, and the original application, to hold back."""

import asyncio
from typing import Final

import structlog

from containerstacks_shared.billing.presence import BEAT_INTERVAL, Presence
from containerstacks_shared.core.waiting import happens_within
from containerstacks_shared.database.db import FAILURES

_BEAT_SECONDS_MAX: Final = 2.0

_log = structlog.get_logger(__name__)


async def beat_until(halt: asyncio.Event, presence: Presence) -> None:
    """Beat, also while a run is in progress. Raises `LeadershipLost` when somebody else bills.

    A beat that fails is no reason to stop billing: the lock and its term decide who bills.
    """
    missed = False
    while not await happens_within(halt, BEAT_INTERVAL.total_seconds()):
        try:
            async with asyncio.timeout(_BEAT_SECONDS_MAX):
                await presence.beat()
        except FAILURES as error:
            if not missed:
                _log.warning("heartbeat.missed", error=str(error) or type(error).__name__)
            missed = True
        else:
            missed = False
