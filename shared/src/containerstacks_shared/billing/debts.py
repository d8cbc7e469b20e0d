"""Open debts: instances with hours that their wallet could not pay. Runways: how long an organization's money lasts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Self
from uuid import UUID

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

QUERIES = load(__name__)

_ORGANIZATIONS_AT_ONCE = 500
_EVER: Final = "ever"
RUNWAY_POSITION: Final = (
    rf"^({_EVER}|[0-9]{{1,20}}(\.[0-9]{{1,2}})?),[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$"
)


@dataclass(frozen=True)
class OpenDebt:
    """What one instance owes and its organization cannot pay now, in USD.

    It opened at `opened_at`; the first unpaid hour starts at `since`. `hours` can be 0: money came in, and the next
    run settles it. With `is_held`, hours of a held price are owed beside these. Names are None for what was deleted.
    """

    id: int
    vps_instance_id: UUID
    organization_id: UUID
    organization: str | None
    label: str | None
    reason: str
    opened_at: datetime
    since: datetime | None
    hours: int
    amount: Decimal
    is_held: bool


@dataclass(frozen=True)
class DebtsCounted:
    """`since` is when the oldest of them opened."""

    debts: int
    organizations: int
    since: datetime | None


@dataclass(frozen=True)
class Runway:
    """How long an organization's money lasts at its present burn rate, after what is due already; in USD.

    `hours` is None when nothing that it has costs anything. `balance` is None without a wallet.
    """

    organization_id: UUID
    organization: str | None
    balance: Decimal | None
    instances: int
    hourly_amount: Decimal
    amount_due: Decimal
    hours: Decimal | None


@dataclass(frozen=True)
class RunwayPosition:
    """Where an organization stands in the list of runways; as text `72.25,ID`, or `ever,ID` where `hours` is None."""

    hours: Decimal | None
    organization_id: UUID

    @classmethod
    def of(cls, runway: Runway) -> Self:
        return cls(runway.hours, runway.organization_id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError`."""
        if re.fullmatch(RUNWAY_POSITION, text) is None:
            raise ValueError(f"{text!r} is not a position in the list of runways")
        hours, _, organization = text.partition(",")
        return cls(None if hours == _EVER else Decimal(hours), UUID(organization))

    def __str__(self) -> str:
        return f"{_EVER if self.hours is None else format(self.hours, 'f')},{self.organization_id}"


async def read_open(
    connection: Connection,
    *,
    limit: int | None = None,
    organization: UUID | None = None,
    after: int | None = None,
) -> list[OpenDebt]:
    """The oldest open debts, or those after one, each with what is unpaid of it now to the digit."""
    wanted = await connection.fetch(QUERIES["open_debts"], limit, organization, after)
    ids = {row["id"] for row in wanted}
    now = await connection.fetchval("select clock_now()")
    debts: list[OpenDebt] = []
    organizations = sorted({row["organization_id"] for row in wanted})
    for first in range(0, len(organizations), _ORGANIZATIONS_AT_ONCE):
        rows = await connection.fetch(
            QUERIES["debt_details"], organizations[first : first + _ORGANIZATIONS_AT_ONCE], now
        )
        debts.extend(OpenDebt(**dict(row)) for row in rows if row["id"] in ids)
    return sorted(debts, key=lambda debt: (debt.opened_at, debt.id))


async def count_open(connection: Connection) -> DebtsCounted:
    (row,) = await connection.fetch(QUERIES["open_debts_counted"])
    return DebtsCounted(**dict(row))


async def read_runways(
    connection: Connection,
    *,
    organizations: Sequence[UUID] | None = None,
    hours_below: Decimal | None = None,
    limit: int | None = None,
    after: RunwayPosition | None = None,
) -> list[Runway]:
    """Shortest runway first; `hours_below` leaves out longer ones."""
    seen = (None, None) if after is None else (after.organization_id, after.hours)
    rows = await connection.fetch(QUERIES["runways"], organizations, hours_below, limit, *seen)
    return [Runway(**dict(row)) for row in rows]


async def read_balance(connection: Connection, organization: UUID) -> Decimal | None:
    """Read what the organization's wallet holds; None without one."""
    balance: Decimal | None = await connection.fetchval(QUERIES["balance"], organization)
    return balance
