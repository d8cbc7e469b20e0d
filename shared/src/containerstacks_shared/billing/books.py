"""What an organization has, and what moved its money: its instances with their prices, movements and charges."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_QUERIES = load(__name__)


@dataclass(frozen=True)
class PricedInstance:
    """`hourly_rate` is what an hour costs now, in USD; None while its plan's price is on hold or broken."""

    id: UUID
    label: str
    status: str | None
    plan: str
    region: str | None
    created_at: datetime | None
    hourly_rate: Decimal | None


@dataclass(frozen=True)
class Movement:
    """One entry of the ledger, with the balance after it."""

    id: int
    recorded_at: datetime
    kind: str
    amount: Decimal
    balance_after: Decimal
    currency: str | None
    billing_run_id: int | None


@dataclass(frozen=True)
class Charge:
    """Hours of one instance that were charged by this project, or given back since."""

    id: UUID
    organization_id: UUID
    vps_instance_id: UUID
    label: str | None
    starts_at: datetime
    ends_at: datetime
    hours: int
    amount: Decimal
    status: str

    @property
    def can_be_refunded(self) -> bool:
        return self.status == "billed"


async def read_instances(connection: Connection, organization: UUID, *, limit: int) -> list[PricedInstance]:
    """The dearest first."""
    rows = await connection.fetch(_QUERIES["instances"], organization, limit)
    return [PricedInstance(**dict(row)) for row in rows]


async def read_movements(
    connection: Connection, organization: UUID, *, limit: int, before: int | None = None
) -> tuple[list[Movement], bool]:
    """Read the newest, or those below one; and whether there are older ones."""
    rows = await connection.fetch(_QUERIES["movements"], organization, before, limit + 1)
    return [Movement(**dict(row)) for row in rows[:limit]], len(rows) > limit


async def read_charges(connection: Connection, organization: UUID, *, limit: int) -> list[Charge]:
    """The newest first."""
    return [Charge(**dict(row)) for row in await connection.fetch(_QUERIES["charges"], organization, limit)]


async def find_charge(connection: Connection, cycle: UUID) -> Charge | None:
    row = await connection.fetchrow(_QUERIES["charge"], cycle)
    return None if row is None else Charge(**dict(row))
