"""What the status page shows beside the figures: components, incidents, maintenance, and whether billing is paused.

Like the feed this reads on a hint, and now and then without one. It also reads when a maintenance begins or ends, or a
state grows too old, of which there is no hint: that follows from the time alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog
from aiohttp import web

from containerstacks_shared.billing.control import read_control
from containerstacks_shared.core.errors import DatabaseUnavailable, describe
from containerstacks_shared.core.waiting import wait_for_event
from containerstacks_shared.database import db
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.database.notify import Channel, Listener
from containerstacks_shared.status import component_rules, components, incidents, versions
from containerstacks_shared.status.documents import (
    Component,
    ComponentNow,
    ComponentReport,
    ComponentState,
    Incident,
)
from containerstacks_shared.status.incidents import IncidentPage

from .messages import IncidentsMessage

CHANNELS: Final = (Channel.INCIDENTS_CHANGED, Channel.COMPONENTS_CHANGED, Channel.BILLING_CHANGED)
# The first page of the history is kept; older ones are read when somebody asks.
PAGE_INCIDENTS: Final = 20

_LOOK: Final = timedelta(seconds=30)
_RETRY_SECONDS: Final = 1.0
_SPACING_SECONDS: Final = 0.05
_READ_SECONDS_MAX: Final = 4.0
_FIRST_SECONDS_MAX: Final = 3.0
_AWAY: Final = "This web server cannot reach the database."

_log = structlog.get_logger(__name__)


class Announce(Protocol):
    def __call__(self, message: bytes, *, is_other: bool) -> None: ...


@dataclass(frozen=True)
class Board:
    """One reading. `current` are the incidents and maintenance not over, `latest` the first page of all.

    `stale`: a later reading failed.
    """

    read_at: datetime
    components: Sequence[ComponentReport]
    current: Sequence[Incident]
    latest: IncidentPage
    billing_paused: bool
    stale: bool = False

    @property
    def overall(self) -> ComponentState:
        return component_rules.overall(component.state for component in self.components)


class StatusBoard:
    """`announce` sends a message to the browsers that asked for it.

    `database_away` tells what others of this process have found since: without a hint, looks are half a minute apart.
    """

    def __init__(self, pool: db.Pool, *, announce: Announce, database_away: Callable[[], bool]) -> None:
        self._pool = pool
        self._announce = announce
        self._database_away = database_away
        self._board: Board | None = None
        self._read_at = 0.0
        self._announced: object = None
        self._tried = asyncio.Event()
        self._failure = f"the first reading takes longer than {_FIRST_SECONDS_MAX:g} s"
        self._healthy = False

    @property
    def board(self) -> Board | None:
        """What is known, and of a database that does not answer no more than that; None before the first reading."""
        if self._board is None or (self._healthy and not self._database_away()):
            return self._board
        age = timedelta(seconds=asyncio.get_running_loop().time() - self._read_at)
        return _without_database(self._board, age)

    async def current(self) -> Board:
        """Return what is known, waiting for it only while the process has just started."""
        if self._board is None:
            await wait_for_event(self._tried, _FIRST_SECONDS_MAX)
        board = self.board
        if board is None:
            raise DatabaseUnavailable(f"the components were never read: {self._failure}")
        return board

    async def follow(self, listener: Listener) -> None:
        """Read and announce until cancelled."""
        subscription = listener.subscribe(*CHANNELS)
        while True:
            seconds = await self._look()
            await asyncio.sleep(_SPACING_SECONDS)
            await subscription.wait(seconds)

    async def _look(self) -> float:
        """Return how long to wait for a hint."""
        try:
            seconds = await self._read()
        except db.FAILURES as error:
            if self._healthy or not self._tried.is_set():
                _log.warning("board.database_away", error=describe(error))
            self._healthy, self._failure = False, describe(error)
            return _RETRY_SECONDS
        else:
            self._healthy = True
            return seconds
        finally:
            self._tried.set()

    async def _read(self) -> float:
        async with (
            lend(self._pool, within=_READ_SECONDS_MAX) as connection,
            connection.transaction(),
        ):
            version = await versions.next_version(connection)
            read_at, loop_time = datetime.now(UTC), asyncio.get_running_loop().time()
            clock = await components.read_clock(connection)
            current = await incidents.read_current(connection)
            board = Board(
                read_at=read_at,
                components=await components.read_reports(connection, current),
                current=current,
                latest=await incidents.read_page(connection, limit=PAGE_INCIDENTS),
                billing_paused=(await read_control(connection)).paused,
            )
        self._board, self._read_at = board, loop_time
        self._send_to_browsers(version, board)
        return min(
            _LOOK, _to_next_turn(current, clock.now), _to_expiry(board.components, clock.now)
        ).total_seconds()

    def _send_to_browsers(self, version: int, board: Board) -> None:
        fields = set(ComponentNow.model_fields)
        now = [
            ComponentNow(**component.model_dump(include=fields, by_alias=False))
            for component in board.components
        ]
        message = IncidentsMessage(
            version=version,
            timestamp=board.read_at,
            overall=board.overall,
            components=now,
            incidents=list(board.current),
            billing_paused=board.billing_paused,
        )
        # `checked_at` changes with every look, and is no news.
        content = (
            [(each.component, each.state, each.because) for each in now],
            board.current,
            board.billing_paused,
        )
        self._announce(message.model_dump_json().encode(), is_other=content != self._announced)
        self._announced = content


STATUS_BOARD: Final = web.AppKey("status_board", StatusBoard)


def _to_next_turn(current: Sequence[Incident], now: datetime) -> timedelta:
    """Return how long until a maintenance begins or ends."""
    turns = [
        turn for incident in current for turn in (incident.starts_at, incident.ends_at) if turn is not None
    ]
    return min((turn - now for turn in turns if turn > now), default=_LOOK)


def _to_expiry(reports: Sequence[ComponentReport], now: datetime) -> timedelta:
    """Return how long until a state is too old to count as current, of which there is no hint either."""
    expiries = [
        report.checked_at + component_rules.RECORD_LIFETIME
        for report in reports
        if report.checked_at is not None
    ]
    return min((expiry - now for expiry in expiries if expiry > now), default=_LOOK)


def _without_database(board: Board, age: timedelta) -> Board:
    """Say what is true without another reading: the database is out of reach, and states grow old."""

    def restate(report: ComponentReport) -> ComponentReport:
        finding = component_rules.Finding(report.state, report.because)
        if report.component is Component.DATABASE:
            finding = component_rules.Finding(ComponentState.DOWN, _AWAY)
        elif age > component_rules.RECORD_LIFETIME:
            finding = component_rules.NO_DATA
        return report.model_copy(update={"state": finding.state, "because": finding.because})

    return replace(board, components=[restate(report) for report in board.components], stale=True)
