"""What a billing run would charge now. Writes nothing."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

ORGANIZATIONS_DUE = load(__name__, "billing")["organizations_due"]
FORECAST = load(__name__)["forecast"]
ORGANIZATIONS_AT_ONCE = 500


@dataclass(frozen=True)
class OrganizationForecast:
    """Hours and USD due now, and the part of them that the wallet pays. `balance` is None without a wallet."""

    organization_id: UUID
    name: str | None
    balance: Decimal | None
    instances: int
    hours_owed: int
    amount_owed: Decimal
    hours_payable: int
    amount_payable: Decimal


async def dry_run(connection: Connection) -> list[OrganizationForecast]:
    """One snapshot, by the same queue that a run charges; organizations with nothing due are left out."""
    forecasts: list[OrganizationForecast] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        now = await connection.fetchval("select clock_now()")
        due = [row["organization_id"] for row in await connection.fetch(ORGANIZATIONS_DUE, now)]
        for first in range(0, len(due), ORGANIZATIONS_AT_ONCE):
            rows = await connection.fetch(FORECAST, due[first : first + ORGANIZATIONS_AT_ONCE], now)
            forecasts.extend(OrganizationForecast(**dict(row)) for row in rows)
    return sorted(forecasts, key=lambda forecast: (forecast.name or "", forecast.organization_id))
