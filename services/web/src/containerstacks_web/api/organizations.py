"""/api/organizations: what an organization has and owes, for its members and for administrators."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from containerstacks_shared.billing import debts
from containerstacks_shared.billing.statement_formats import StatementFormat
from containerstacks_shared.core.documents import Count, Document, Timestamp
from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.core.money import CURRENCY
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet.organizations import Organization
from containerstacks_web.actions.organizations import find_readable
from containerstacks_web.actions.statements import send_statement
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import CHALLENGE
from containerstacks_web.http.exchange import answer
from containerstacks_web.http.identity import IDENTITY, RequestRole
from containerstacks_web.http.problems import RequestRefused

DEBTS_MAX: Final = 500
# To the last digit, which a JSON number would not be everywhere.
Money = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["12.50"])]


class OrganizationDocument(Document):
    success: Literal[True] = True
    timestamp: Timestamp
    id: UUID
    name: str
    slug: str


class BalanceDocument(Document):
    """`balance` is null without a wallet; `runwayHours` is how long it lasts after what is due, null for ever."""

    success: Literal[True] = True
    timestamp: Timestamp
    currency: str
    balance: Money | None
    amount_due: Money
    hourly_amount: Money
    runway_hours: Count | None
    instances: Count


class DebtDocument(Document):
    vps_instance_id: UUID
    label: str | None
    reason: str
    opened_at: Timestamp
    unpaid_since: Timestamp | None
    hours: Count
    amount: Money
    price_on_hold: bool


class DebtsDocument(Document):
    """The oldest first, and no more than 500."""

    success: Literal[True] = True
    timestamp: Timestamp
    currency: str
    debts: list[DebtDocument]


class StatementDocument(BaseModel):
    """The head of a statement, and its lines; amounts are decimal strings."""

    model_config = ConfigDict(extra="allow")

    lines: list[dict[str, Any]]


async def read_organization(request: web.Request) -> web.Response:
    async with _readable(request) as (_, found):
        document = OrganizationDocument(
            timestamp=datetime.now(UTC), id=found.id, name=found.name, slug=found.slug
        )
    return answer(request, document)


async def read_balance(request: web.Request) -> web.Response:
    async with _readable(request) as (connection, found):
        now = datetime.now(UTC)
        runways = await debts.read_runways(connection, organizations=[found.id])
        balance = runways[0].balance if runways else await debts.read_balance(connection, found.id)
    runway = runways[0] if runways else None
    document = BalanceDocument(
        timestamp=now,
        currency=CURRENCY,
        balance=None if balance is None else _money(balance),
        amount_due=_money(Decimal(0) if runway is None else runway.amount_due),
        hourly_amount=_money(Decimal(0) if runway is None else runway.hourly_amount),
        runway_hours=None if runway is None or runway.hours is None else int(runway.hours),
        instances=0 if runway is None else runway.instances,
    )
    return answer(request, document)


async def read_debts(request: web.Request) -> web.Response:
    async with _readable(request) as (connection, found):
        now = datetime.now(UTC)
        owed = await debts.read_open(connection, limit=DEBTS_MAX, organization=found.id)
    listed = [
        DebtDocument(
            vps_instance_id=debt.vps_instance_id,
            label=debt.label,
            reason=debt.reason,
            opened_at=debt.opened_at,
            unpaid_since=debt.since,
            hours=debt.hours,
            amount=_money(debt.amount),
            price_on_hold=debt.is_held,
        )
        for debt in owed
    ]
    return answer(request, DebtsDocument(timestamp=now, currency=CURRENCY, debts=listed))


async def read_statement(request: web.Request) -> web.StreamResponse:
    async with _readable(request) as (_, found):
        pass
    return await send_statement(request, found, usual=StatementFormat.JSON)


@asynccontextmanager
async def _readable(request: web.Request) -> AsyncIterator[tuple[Connection, Organization]]:
    identity = request[IDENTITY]
    if identity.role is RequestRole.ANONYMOUS:
        raise RequestRefused(
            HTTPStatus.UNAUTHORIZED, "Only its members may see an organization.", headers=CHALLENGE
        )
    try:
        wanted = UUID(request.match_info["id"])
        async with lend(request.app[POOL]) as connection:
            yield connection, await find_readable(connection, identity, wanted)
    except (ValueError, NotFound):
        raise RequestRefused(HTTPStatus.NOT_FOUND, "There is no organization of this id.") from None


def _money(amount: Decimal) -> str:
    return f"{amount:f}"
