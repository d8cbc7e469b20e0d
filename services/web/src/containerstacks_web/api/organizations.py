"""/api/organizations: what an organization has and owes, for its members, administrators and staff."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from containerstacks_shared.billing import debts
from containerstacks_shared.billing.statement_formats import StatementFormat
from containerstacks_shared.core.documents import Count, Document, Money, Timestamp
from containerstacks_shared.core.errors import NotFound
from containerstacks_shared.core.money import CURRENCY
from containerstacks_shared.database.bounded_pool import lend
from containerstacks_shared.database.db import Connection
from containerstacks_shared.fleet.organizations import Organization
from containerstacks_web.actions.organizations import find_readable, list_readable
from containerstacks_web.actions.statements import send_statement
from containerstacks_web.database import POOL
from containerstacks_web.http.authorization import CHALLENGE
from containerstacks_web.http.exchange import answer, whole_number
from containerstacks_web.http.identity import IDENTITY, Identity, RequestRole
from containerstacks_web.http.paging import cut_page, id_in_query, page_limit
from containerstacks_web.http.problem_types import ProblemType
from containerstacks_web.http.problems import RequestRefused

from .billing import answer_debts
from .documents import Answer


class OrganizationEntry(Document):
    id: UUID
    name: str
    slug: str


class OrganizationDocument(OrganizationEntry):
    success: Literal[True] = True
    timestamp: Timestamp


class OrganizationsDocument(Answer):
    """In the order of their ids; the header `Link` leads to the page after."""

    organizations: list[OrganizationEntry]


class BalanceDocument(Answer):
    """`balance` is null without a wallet; `runwayHours` is how long it lasts after what is due, null for ever."""

    currency: str
    balance: Money | None
    amount_due: Money
    hourly_amount: Money
    runway_hours: Count | None
    instances: Count


class StatementDocument(BaseModel):
    """The head of a statement, and its lines; amounts are decimal strings."""

    model_config = ConfigDict(extra="allow")

    lines: list[dict[str, Any]]


async def list_organizations(request: web.Request) -> web.Response:
    identity = _known(request)
    limit, after = page_limit(request), id_in_query(request, "after")
    async with lend(request.app[POOL]) as connection:
        found = await list_readable(connection, identity, limit=limit + 1, after=after)
    shown, headers = cut_page(request, found, limit=limit, cursor="after", name=lambda each: each.id)
    listed = [OrganizationEntry(**vars(organization)) for organization in shown]
    return answer(request, OrganizationsDocument(organizations=listed), headers=headers)


async def read_organization(request: web.Request) -> web.Response:
    async with _readable(request) as (_, found):
        pass
    return answer(request, OrganizationDocument(timestamp=datetime.now(UTC), **vars(found)))


async def read_balance(request: web.Request) -> web.Response:
    async with _readable(request) as (connection, found):
        runways = await debts.read_runways(connection, organizations=[found.id])
        balance = runways[0].balance if runways else await debts.read_balance(connection, found.id)
    runway = runways[0] if runways else None
    document = BalanceDocument(
        currency=CURRENCY,
        balance=balance,
        amount_due=Decimal(0) if runway is None else runway.amount_due,
        hourly_amount=Decimal(0) if runway is None else runway.hourly_amount,
        runway_hours=None if runway is None or runway.hours is None else int(runway.hours),
        instances=0 if runway is None else runway.instances,
    )
    return answer(request, document)


async def read_debts(request: web.Request) -> web.Response:
    limit, after = page_limit(request), whole_number(request, "after")
    async with _readable(request) as (connection, found):
        owed = await debts.read_open(connection, limit=limit + 1, organization=found.id, after=after)
    return answer_debts(request, owed, limit=limit)


async def read_statement(request: web.Request) -> web.StreamResponse:
    async with _readable(request) as (_, found):
        pass
    return await send_statement(request, found, usual=StatementFormat.JSON)


@asynccontextmanager
async def _readable(request: web.Request) -> AsyncIterator[tuple[Connection, Organization]]:
    identity = _known(request)
    try:
        wanted = UUID(request.match_info["id"])
        async with lend(request.app[POOL]) as connection:
            yield connection, await find_readable(connection, identity, wanted)
    except (ValueError, NotFound):
        raise RequestRefused(ProblemType.NOT_FOUND, "There is no organization of this id.") from None


def _known(request: web.Request) -> Identity:
    identity = request[IDENTITY]
    if identity.role is RequestRole.ANONYMOUS:
        raise RequestRefused(
            ProblemType.AUTHENTICATION_REQUIRED,
            "Only its members may see an organization.",
            headers=CHALLENGE,
        )
    return identity
