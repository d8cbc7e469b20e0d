"""Leading a role again and again: stand by, lead, lose it, stand by."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from containerstacks_shared.core.errors import LeadershipLost
from containerstacks_shared.core.waiting import either, happens_within, in_own_task

from .db import FAILURES
from .locks import Leadership, Term

# Called with each term, and an event that is set when the term is over or the process stops.
Work = Callable[[Term, asyncio.Event], Coroutine[Any, Any, None]]

_PAUSE_SECONDS: Final = 0.5
_GIVES_UP: Final[tuple[type[Exception], ...]] = (LeadershipLost, *FAILURES)

_log = structlog.get_logger(__name__)


async def lead_until_stopped(leadership: Leadership, work: Work, *, stop: asyncio.Event) -> None:
    """Do `work` whenever the role is ours.

    It returns after its event is set. When it fails because somebody else leads, or because the database is
    away or fails a statement, the role is given up and tried for again.
    """
    async with leadership:
        while not stop.is_set():
            term = await leadership.acquire(stop=stop)
            if term is None:
                continue
            async with either(stop, leadership.lost) as halt:
                try:
                    await in_own_task(work(term, halt))
                except* _GIVES_UP as group:
                    _log.warning("leading.given_up", role=term.role, term=term.number, error=_first(group))
            await leadership.release()
            # Whoever replaced us should find the role free.
            await happens_within(stop, _PAUSE_SECONDS)


def _first(group: ExceptionGroup[Exception]) -> str:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
