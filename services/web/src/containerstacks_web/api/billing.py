"""/api/billing: runs, open debts, runways and prices on hold, for administrators and staff."""

from decimal import Decimal
from uuid import UUID

from aiohttp import web

from containerstacks_shared.billing import debts, price_holds, run_records
from containerstacks_shared.billing.debts import OpenDebt, RunwayPosition
from containerstacks_shared.billing.documents import BillingRunRecord
from containerstacks_shared.core.documents import Count, Document, Figure, Money, Timestamp
from containerstacks_shared.core.money import CURRENCY
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.fleet.permissions import Permission
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import assert_may
from containerstacks_web.http.exchange import answer, whole_number
from containerstacks_web.http.paging import cut_page, id_in_query, link_to_next, page_limit
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused

from .documents import Answer


class BillingRunsDocument(Answer):
    """Newest first; the header `Link` leads to the page after."""

    runs: list[BillingRunRecord]


class DebtDocument(Document):
    """What one instance owes. `unpaidSince` is where its first unpaid hour starts, `amount` is in `currency`."""

    id: int
    organization_id: UUID
    vps_instance_id: UUID
    label: str | None
    reason: str
    opened_at: Timestamp
    unpaid_since: Timestamp | None
    hours: Count
    amount: Money
    currency: str = CURRENCY
    price_on_hold: bool


class DebtsDocument(Answer):
    """Oldest first; the header `Link` leads to the page after."""

    currency: str = CURRENCY
    debts: list[DebtDocument]


class RunwayEntry(Document):
    """`hours` is how long the money lasts after what is due, null for ever; `balance` is null without a wallet."""

    organization_id: UUID
    organization: str | None
    balance: Money | None
    amount_due: Money
    hourly_amount: Money
    currency: str = CURRENCY
    hours: Figure | None
    instances: Count


class RunwaysDocument(Answer):
    """Shortest first; the header `Link` leads to the page after."""

    runways: list[RunwayEntry]


class HeldPriceDocument(Document):
    """A plan whose hours wait because of its price. `hourlyRateBefore` is what it charged last, null if nothing."""

    vps_plan_id: UUID
    name: str | None
    reason: str
    since: Timestamp | None
    hourly_rate: Money
    hourly_rate_before: Money | None
    currency: str = CURRENCY
    instances: Count
    can_be_released: bool


class HeldPricesDocument(Answer):
    """In the order of the plans' ids; the header `Link` leads to the page after."""

    held_prices: list[HeldPriceDocument]


async def runs(request: web.Request) -> web.Response:
    assert_may(request, Permission.READ)
    limit, before = page_limit(request), whole_number(request, "before")
    async with lend(request.app[POOL]) as connection:
        page = await run_records.page(connection, before=before, limit=limit)
    headers = link_to_next(request, limit=limit, before=page.runs[-1].run_id) if page.has_older else {}
    return answer(request, BillingRunsDocument(runs=page.runs), headers=headers)


async def all_debts(request: web.Request) -> web.Response:
    assert_may(request, Permission.READ)
    limit, after = page_limit(request), whole_number(request, "after")
    async with lend(request.app[POOL]) as connection:
        owed = await debts.read_open(connection, limit=limit + 1, after=after)
    return answer_debts(request, owed, limit=limit)


def answer_debts(request: web.Request, owed: list[OpenDebt], *, limit: int) -> web.Response:
    """Answer with a page of debts, of which one more than the limit was read."""
    shown, headers = cut_page(request, owed, limit=limit, cursor="after", name=lambda debt: debt.id)
    listed = [
        DebtDocument(**vars(debt), unpaid_since=debt.since, price_on_hold=debt.is_held) for debt in shown
    ]
    return answer(request, DebtsDocument(debts=listed), headers=headers)


async def runways(request: web.Request) -> web.Response:
    assert_may(request, Permission.READ)
    limit, below, after = page_limit(request), whole_number(request, "below"), _position(request)
    async with lend(request.app[POOL]) as connection:
        found = await debts.read_runways(
            connection,
            hours_below=None if below is None else Decimal(below),
            limit=limit + 1,
            after=after,
        )
    chosen = {} if below is None else {"below": below}
    shown, headers = cut_page(request, found, limit=limit, cursor="after", name=RunwayPosition.of, **chosen)
    listed = [RunwayEntry(**vars(runway)) for runway in shown]
    return answer(request, RunwaysDocument(runways=listed), headers=headers)


def _position(request: web.Request) -> RunwayPosition | None:
    texts = request.query.getall("after", [])
    try:
        return RunwayPosition.parse(",".join(texts)) if texts else None
    except ValueError:
        raise RequestRefused(
            ProblemType.INVALID_PARAMETER,
            "after takes the position that the header Link of the page before names.",
        ) from None


async def held_prices(request: web.Request) -> web.Response:
    assert_may(request, Permission.READ)
    limit, after = page_limit(request), id_in_query(request, "after")
    async with lend(request.app[POOL]) as connection:
        held = await price_holds.read_held(connection)
    # As many as there are plans at most; their order by instances, which people see, changes from page to page.
    held = sorted((each for each in held if after is None or each.vps_plan_id > after), key=_plan_id)
    shown, headers = cut_page(request, held, limit=limit, cursor="after", name=_plan_id)
    listed = [HeldPriceDocument(**vars(each), can_be_released=each.can_be_released) for each in shown]
    return answer(request, HeldPricesDocument(held_prices=listed), headers=headers)


def _plan_id(held: price_holds.PriceHold) -> UUID:
    return held.vps_plan_id
