"""Leading a role again and again: stand by, lead, lose it, stand by."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog

from containerstacks_shared.core.errors import LeadershipLost, describe
from containerstacks_shared.core.waiting import any_event, in_own_task, wait_for_event

from .db import FAILURES
from .locks import Leadership, Term

# Called with each term, and an event that is set when the term is over or the process stops.
Work = Callable[[Term, asyncio.Event], Coroutine[Any, Any, None]]
Wanted = Callable[[], Awaitable[bool]]

_PAUSE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 1.0
_GIVES_UP: Final[tuple[type[Exception], ...]] = (LeadershipLost, *FAILURES)

_log = structlog.get_logger(__name__)


async def lead_until_stopped(
    leadership: Leadership,
    work: Work,
    *,
    stop: asyncio.Event,
    wanted: Wanted | None = None,
    released: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Do `work` whenever the role is ours.

    It returns after its event is set. When it fails because somebody else leads, or because the database is
    away or fails a statement, the role is given up and tried for again.

    `wanted` is asked every second: only while it says yes is the role tried for, and kept. `released` is called
    after a term that ended on purpose, once others can have the role.
    """
    async with leadership:
        while not stop.is_set():
            if wanted is not None and not await wanted():
                await wait_for_event(stop, _LOOK_SECONDS)
                continue
            term = await leadership.acquire(stop=stop, timeout=None if wanted is None else _LOOK_SECONDS)
            if term is None:
                continue
            on_purpose = True
            async with any_event(stop, leadership.lost) as over:
                try:
                    await in_own_task(_work_while_wanted(work, term, over, wanted))
                except* _GIVES_UP as group:
                    on_purpose = False
                    _log.warning("leading.given_up", role=term.role, term=term.number, error=_first(group))
            on_purpose = stop.is_set() or (on_purpose and not leadership.lost.is_set())
            await leadership.release()
            if on_purpose and released is not None:
                await released()
            # The next leader should find the role free.
            await wait_for_event(stop, _PAUSE_SECONDS)


async def _work_while_wanted(work: Work, term: Term, over: asyncio.Event, wanted: Wanted | None) -> None:
    if wanted is None:
        await work(term, over)
        return
    unwanted = asyncio.Event()
    async with any_event(over, unwanted) as halt, asyncio.TaskGroup() as group:

        async def watch() -> None:
            while not await wait_for_event(halt, _LOOK_SECONDS):
                if not await wanted():
                    _log.info("leading.stepped_back", role=term.role, term=term.number)
                    unwanted.set()

        watching = group.create_task(watch())
        await work(term, halt)
        watching.cancel()


def _first(group: ExceptionGroup[Exception]) -> str:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return describe(error)
