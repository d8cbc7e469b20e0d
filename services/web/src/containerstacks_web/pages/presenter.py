"""What the templates get: the status document as it goes over the socket, and what only the server adds.

Templates name a value by its path in the document, and so does the page's script. The path is therefore
written once, in the template, and both find the same value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from containerstacks_shared.fleet.platform import PlatformStatistics
from containerstacks_shared.fleet.vps import VpsStatusGroup
from containerstacks_shared.status.health import does_nobody_bill, is_daemon_overdue
from containerstacks_web.live.board import Board
from containerstacks_web.live.freshness import Freshness
from containerstacks_web.live.snapshot import StatusSnapshot

from . import components
from .verdict import RULES, Rule, as_case, decide, look_up

_NOTHING: Final[Mapping[str, object]] = {
    "timestamp": None,
    "vps": {},
    "daemon": {},
    "daemonOverdue": None,
    "switchingOver": None,
    "nobodyBills": None,
}
# How the page's script is connected. It starts from here; without scripts it stays here.
_NOT_CONNECTED: Final = "none"


@dataclass(frozen=True)
class BarPart:
    """A stretch of the stacked bar, as attributes of its rectangle."""

    group: VpsStatusGroup
    x: str
    width: str


@dataclass(frozen=True)
class StatusPage:
    """`now` is when the page was rendered: every 'ago' on it counts from there."""

    facts: Mapping[str, object]
    now: datetime
    rule: Rule
    bar: list[BarPart]
    rules: tuple[Rule, ...] = RULES

    @property
    def headline(self) -> str:
        return self.rule.headline_for(self.facts)

    @property
    def because(self) -> str:
        return self.rule.because_for(self.facts)

    def value(self, path: str) -> object:
        return look_up(self.facts, path)

    def case(self, path: str) -> str:
        return as_case(self.value(path))

    def is_case(self, path: str, case: str) -> bool:
        return self.case(path) == case


def present_status(
    snapshot: StatusSnapshot | None, board: Board | None = None, *, age_seconds: float | None, now: datetime
) -> StatusPage:
    document = _NOTHING if snapshot is None else _document(snapshot)
    facts = {
        **document,
        **components.states(board),
        "freshness": Freshness.of(age_seconds).value,
        "connection": _NOT_CONNECTED,
    }
    return StatusPage(facts, now, decide(facts), _bar(facts))


def _document(snapshot: StatusSnapshot) -> Mapping[str, object]:
    return {
        "timestamp": snapshot.timestamp.isoformat(),
        "vps": snapshot.vps.model_dump(mode="json"),
        "daemon": snapshot.daemon.model_dump(mode="json"),
        "daemonOverdue": is_daemon_overdue(snapshot.daemon),
        "switchingOver": snapshot.daemon.switching_over,
        "nobodyBills": does_nobody_bill(snapshot.daemon),
    }


def _bar(facts: Mapping[str, object]) -> list[BarPart]:
    total = look_up(facts, "vps.total") or 0
    parts = []
    x = 0.0
    for group in VpsStatusGroup:
        amount = look_up(facts, f"vps.byStatus.{group}")
        width = 100 * amount / total if isinstance(amount, int) and isinstance(total, int) and total else 0.0
        parts.append(BarPart(group, _percent(x), _percent(width)))
        x += width
    return parts


def _percent(share: float) -> str:
    return f"{round(share, 3):g}%"


@dataclass(frozen=True)
class Figure:
    """One all-time figure of the about page. `amount` is None while nothing was ever read."""

    amount: int | None
    one: str
    several: str
    sentence: str


_FIGURES: Final[Sequence[tuple[Callable[[PlatformStatistics], int], str, str, str]]] = (
    (
        lambda known: known.vps.total,
        "VPS deployed",
        "VPS deployed",
        "Every virtual server ever started here, whether it still runs or not.",
    ),
    (
        lambda known: known.containers.total,
        "container deployed",
        "containers deployed",
        "All containers since the first day.",
    ),
    (
        lambda known: known.organizations.total,
        "organization",
        "organizations",
        "Teams and companies that opened an account, of all time.",
    ),
    (
        lambda known: known.users.total,
        "registered user",
        "registered users",
        "People who signed up, of all time.",
    ),
    (
        lambda known: known.support.total_tickets,
        "support ticket",
        "support tickets",
        "Questions brought to our support, answered and open.",
    ),
    (
        lambda known: known.plans.vps_plans,
        "available VPS plan",
        "available VPS plans",
        "Sizes to choose from today.",
    ),
    (
        lambda known: known.regions.total,
        "available region",
        "available regions",
        "Places where a VPS can be deployed today.",
    ),
)


def present_about(known: PlatformStatistics | None) -> list[Figure]:
    return [Figure(None if known is None else read(known), *words) for read, *words in _FIGURES]
