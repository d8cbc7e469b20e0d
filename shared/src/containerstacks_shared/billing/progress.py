"""Whether billing makes progress: a biller with a heartbeat whose runs fail is not healthy."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from containerstacks_shared.database.db import Connection

from . import owed_hours
from .control import read_control
from .owed_hours import OwedHours

# A failed run is retried; hours that two scheduled runs have not billed are a problem.
_INTERVALS: Final = 2
_GRACE: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class Progress:
    """What is owed, and where the oldest hour starts that two runs should have billed and nothing else keeps waiting.

    That is: its organization is not short of money, and its price is not held.
    """

    owed: OwedHours
    stalled_since: datetime | None
    paused: bool
    run_is_under_way: bool


def progress_is_healthy(progress: Progress) -> bool:
    """Whether nothing is stalled, or there is a good reason: a pause, or a run that is catching up."""
    return progress.stalled_since is None or progress.paused or progress.run_is_under_way


def patience(interval: timedelta) -> timedelta:
    """How long an hour may be due before it counts as stalled, and a run may take before it counts as hung."""
    return _INTERVALS * interval + _GRACE


async def read_progress(connection: Connection, *, interval: timedelta) -> Progress:
    allowed = patience(interval)
    return Progress(
        owed=await owed_hours.read_owed_hours(connection),
        stalled_since=await owed_hours.stalled_since(connection, patience=allowed),
        paused=(await read_control(connection)).paused,
        run_is_under_way=await owed_hours.run_is_under_way(connection, patience=allowed),
    )
