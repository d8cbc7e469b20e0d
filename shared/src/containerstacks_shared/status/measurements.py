"""What monitoring measures in the database: connections, notifications, and billing by any process."""

from dataclasses import dataclass
from datetime import datetime

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import Connection

_MEASURE = load(__name__)["measure"]


@dataclass(frozen=True)
class Measurements:
    """`notification_queue_usage` is a share of 1; at 1, every transaction that notifies fails."""

    notification_queue_usage: float
    connections: int
    connections_max: int
    billing_paused: bool
    last_success_at: datetime | None
    audit_findings: int
    price_holds: int
    charges_refused: int
    charges_given_back: int
    writes_mended: int
    application_changes: str | None


async def measure(connection: Connection) -> Measurements:
    (row,) = await connection.fetch(_MEASURE)
    return Measurements(**dict(row))
