"""What an hour had to cost, worked out from what stood in the plans' rows: nothing of the engine is asked.

Where more than one price would have been right, there is a rate for each:
  before a plan's first price, that price, or the fallback where the hour was billed before the price was known;
  before a plan and region was first seen, also what it cost then;
  where a price was held, also what corrected it.
"""

import heapq
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any, Final, NamedTuple
from uuid import UUID

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_FACTS = load(__name__)
# As the driver writes -infinity and infinity.
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UUID_LENGTH: Final = 36
_BACKUPS: Final = " +backups"
_HOURS_PER_MONTH: Final = 730
_FALLBACK_RATE: Final = Decimal("0.027")
# No hour may cost it: those behind a negative price wait.
_NOT_CORRECTED: Final = Decimal("-Infinity")
_DIGITS: Final = Decimal("1e-8")


class Rate(NamedTuple):
    """One rate that was right for hours of a plan reference that begin within a time."""

    plan_id: str
    region: str
    since: datetime
    until: datetime
    hourly_rate: Decimal


class Version(NamedTuple):
    """What stood in a plan's row for a while; of two plans the lower rank is meant."""

    rank: int
    since: datetime
    until: datetime
    plan: UUID
    provider_plan_id: str
    region: str
    monthly_price: Decimal | None
    backup_price_hourly: Decimal


class Piece(NamedTuple):
    """A time in which a reference meant one version of one plan, or none."""

    since: datetime
    until: datetime
    version: Version | None


@dataclass(frozen=True)
class Hold:
    """Prices of a plan above a limit that wait for an operator, or for what corrects them."""

    hourly_rate_max: Decimal
    released_at: datetime
    is_approved: bool
    last_run_at: datetime


Holds = dict[UUID, list[Hold]]


class Reference(NamedTuple):
    """What an instance names its plan by, the region it is priced in, and when a price was first looked up for them."""

    plan_id: str
    region: str
    first_seen_at: datetime


@dataclass(frozen=True)
class PriceHistory:
    """The rates that were right, and the plans and regions of which a price waits for an operator, or did lately."""

    rates: Sequence[Rate]
    waiting: Sequence[Reference]


async def read_price_history(connection: Connection) -> PriceHistory:
    """Work out every rate of every plan and region that an instance has, or had."""
    holds: Holds = defaultdict(list)
    for row in await connection.fetch(_FACTS["price_holds"]):
        holds[row["vps_plan_id"]].append(
            Hold(
                row["hourly_rate_max"],
                row["released_at"] or _END,
                row["is_approved"],
                row["last_run_at"] or _BEGINNING,
            )
        )
    catalogue = Catalogue(_versions(await connection.fetch(_FACTS["plan_versions"])))
    recently = await connection.fetchval(_FACTS["recently"]) or _BEGINNING
    rates: list[Rate] = []
    waiting: list[Reference] = []
    for row in await connection.fetch(_FACTS["plan_references"]):
        reference = Reference(row["plan_id"], row["region"], row["first_seen_at"] or _BEGINNING)
        pieces = catalogue.pieces(reference.plan_id, reference.region)
        rates += _rates(reference, pieces, holds)
        if _waits(pieces, holds, recently):
            waiting.append(reference)
    return PriceHistory(rates, waiting)


class Catalogue:
    """Which plan a reference meant, and when: by its own id, else in the instance's region, else anywhere."""

    def __init__(self, versions: Iterable[Version]) -> None:
        own: dict[object, list[Version]] = defaultdict(list)
        for version in versions:
            own[version.plan].append(version)
            own[version.provider_plan_id, version.region].append(version)
            own[version.provider_plan_id].append(version)
        self._offers = {name: _foremost(offered) for name, offered in own.items()}

    def pieces(self, plan_id: str, region: str) -> list[Piece]:
        priced_in = region.removesuffix(_BACKUPS) if region and len(plan_id) != _UUID_LENGTH else None
        names: list[object] = [UUID(plan_id)] if _UUID.fullmatch(plan_id) else []
        names += [plan_id] if priced_in is None else [(plan_id, priced_in), plan_id]
        offers = [self._offers[name] for name in names if name in self._offers]
        return list(_first_offered(offers, _BEGINNING, _END))


def _versions(rows: Sequence[Any]) -> Iterator[Version]:
    """Give each version the end of its time; what is written later counts, also if it dates from earlier."""
    until: dict[UUID, datetime] = defaultdict(lambda: _END)
    for row in reversed(rows):
        since, end = row["in_force_from"] or _BEGINNING, until[row["vps_plan_id"]]
        if since >= end:
            continue
        until[row["vps_plan_id"]] = since
        if not row["is_gone"]:
            yield Version(
                row["rank"],
                since,
                end,
                row["vps_plan_id"],
                row["provider_plan_id"],
                row["region"],
                _monthly_price(row["base_price"], row["markup_price"]),
                (_number(row["backup_price_hourly"]) + _number(row["backup_upcharge_hourly"])).quantize(
                    _DIGITS, ROUND_HALF_UP
                ),
            )


def _monthly_price(base: Decimal | None, markup: Decimal | None) -> Decimal | None:
    # NaN is what an empty number in a form becomes, and no price.
    if base is None or markup is None or base.is_nan() or markup.is_nan():
        return None
    return base + markup


def _number(value: Decimal | None) -> Decimal:
    return Decimal(0) if value is None or value.is_nan() else value


def _foremost(versions: list[Version]) -> list[Piece]:
    """Of plans that a name could mean, which one it meant, one time after another."""
    coming = sorted(versions, key=lambda version: version.since, reverse=True)
    moments = sorted({moment for version in versions for moment in (version.since, version.until)})
    pieces: list[Piece] = []
    present: list[Version] = []
    for since, until in pairwise(moments):
        while coming and coming[-1].since == since:
            heapq.heappush(present, coming.pop())
        while present and present[0].until <= since:
            heapq.heappop(present)
        if not present:
            continue
        if pieces and pieces[-1].version is present[0] and pieces[-1].until == since:
            pieces[-1] = pieces[-1]._replace(until=until)
        else:
            pieces.append(Piece(since, until, present[0]))
    return pieces


def _first_offered(offers: Sequence[list[Piece]], since: datetime, until: datetime) -> Iterator[Piece]:
    """Go through a time by the first of several offers, and where it has none, by the next."""
    if not offers:
        yield Piece(since, until, None)
        return
    first, *others = offers
    index = max(bisect_right(first, since, key=lambda piece: piece.since) - 1, 0)
    while since < until:
        while index < len(first) and first[index].until <= since:
            index += 1
        begins = first[index].since if index < len(first) else _END
        if begins > since:
            gap_ends = min(begins, until)
            yield from _first_offered(others, since, gap_ends)
            since = gap_ends
        else:
            ends = min(first[index].until, until)
            yield Piece(since, ends, first[index].version)
            since = ends


def _rates(reference: Reference, pieces: list[Piece], holds: Holds) -> Iterator[Rate]:
    plan_id, region, first_seen_at = reference
    costs = _costs(pieces, region)
    priced = [
        index for index, piece in enumerate(pieces) if _price(piece) is not None and not _is_negative(piece)
    ]
    for index, (since, until, _) in enumerate(pieces):
        if not _is_refused(pieces[index], costs[index], holds):
            # In one piece: most hours are audited by whether one rate was right for all of an instance's.
            is_first_price = priced[:1] == [index]
            yield Rate(plan_id, region, _BEGINNING if is_first_price else since, until, costs[index])
        if first_seen_at > _BEGINNING and since <= first_seen_at < until:
            yield Rate(plan_id, region, _BEGINNING, first_seen_at, costs[index])
            later = [known for known in priced if known > index]
            if _price(pieces[index]) is None and later:
                yield Rate(plan_id, region, _BEGINNING, first_seen_at, costs[later[0]])
        for cost in _corrections(pieces, costs, index, holds):
            yield Rate(plan_id, region, since, until, cost)


def _costs(pieces: list[Piece], region: str) -> list[Decimal]:
    """What an hour cost, piece by piece. A negative price never was one: what corrected it counts."""
    costs: list[Decimal] = []
    corrected = _NOT_CORRECTED
    for piece in reversed(pieces):
        if not _is_negative(piece):
            corrected = _hourly_rate(piece, region)
        costs.append(corrected)
    return costs[::-1]


def _waits(pieces: list[Piece], holds: Holds, recently: datetime) -> bool:
    if _is_negative(pieces[-1]):
        return True
    return any(
        (_is_negative(piece) and piece.until >= recently)
        or (
            piece.version is not None
            and any(hold.released_at >= recently for hold in holds.get(piece.version.plan, ()))
        )
        for piece in pieces
    )


def _is_negative(piece: Piece) -> bool:
    price = _price(piece)
    return price is not None and price < 0


def _price(piece: Piece) -> Decimal | None:
    return None if piece.version is None else piece.version.monthly_price


def _hourly_rate(piece: Piece, region: str) -> Decimal:
    price = _price(piece)
    if piece.version is None or price is None:
        return _FALLBACK_RATE
    rate = (price / _HOURS_PER_MONTH).quantize(_DIGITS, ROUND_HALF_UP)
    return rate + piece.version.backup_price_hourly if region.endswith(_BACKUPS) else rate


def _is_refused(piece: Piece, cost: Decimal, holds: Holds) -> bool:
    """Whether a price was held before it was charged, and has not been released."""
    return piece.version is not None and any(
        not hold.is_approved and cost > hold.hourly_rate_max and piece.since >= hold.last_run_at
        for hold in holds.get(piece.version.plan, ())
    )


def _corrections(pieces: list[Piece], costs: list[Decimal], index: int, holds: Holds) -> Iterator[Decimal]:
    """What a held price was corrected to: the first in proportion, or a lower one while it was held."""
    _, until, version = pieces[index]
    for hold in holds.get(version.plan, ()) if version else ():
        if costs[index] <= hold.hourly_rate_max or until <= hold.last_run_at:
            continue
        for later in range(index + 1, len(pieces)):
            if pieces[later].since > hold.released_at:
                break
            if costs[later] < costs[index]:
                yield costs[later]
            if costs[later] <= hold.hourly_rate_max:
                break
