"""What a billing run left unpaid, and why."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

from .documents import BillingRunRecord

_OPENED_IN_RUN = load(__name__)["opened_in_run"]


@dataclass(frozen=True)
class RunDebt:
    """An instance that went into debt: what could not be paid then, in USD. Names are None for what was deleted."""

    vps_instance_id: UUID
    label: str | None
    organization_id: UUID
    organization: str | None
    reason: str
    opened_at: datetime
    settled_at: datetime | None
    written_off_at: datetime | None
    since: datetime
    hours: int
    hourly_rate: Decimal
    amount: Decimal


async def read_opened(connection: Connection, run: BillingRunRecord, *, limit: int) -> list[RunDebt]:
    rows = await connection.fetch(_OPENED_IN_RUN, run.run_id, run.started_at, run.finished_at, limit)
    return [RunDebt(**dict(row)) for row in rows]
