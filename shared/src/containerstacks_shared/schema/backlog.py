"""What an adopted database owes: asked of the statement that would charge it, so that the two cannot disagree."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Connection, text

from containerstacks_shared.billing.forecast import FORECAST, ORGANIZATIONS_AT_ONCE, ORGANIZATIONS_DUE


@dataclass(frozen=True)
class Backlog:
    """What is due and not held back; in USD all of it, and the part that the wallets cover now."""

    instances: int
    hours: int
    owed: Decimal
    payable: Decimal


def complete_pause(connection: Connection) -> None:
    """Where an adoption paused billing because of a backlog, say what resuming would charge."""
    if not connection.scalar(text("select paused from billing_control")):
        return
    backlog = read_backlog(connection)
    connection.execute(
        text("update billing_control set amount_owed = :owed, amount_payable = :payable"),
        {"owed": backlog.owed, "payable": backlog.payable},
    )


def read_backlog(connection: Connection) -> Backlog:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    backlog = Backlog(0, 0, Decimal(0), Decimal(0))
    # Raw: the statement numbers its parameters.
    with psycopg.RawCursor(driver, row_factory=dict_row) as cursor:
        row = cursor.execute("select clock_now() as now").fetchone()
        assert row is not None
        due: list[UUID] = [due["organization_id"] for due in cursor.execute(ORGANIZATIONS_DUE, (row["now"],))]
        for first in range(0, len(due), ORGANIZATIONS_AT_ONCE):
            page = due[first : first + ORGANIZATIONS_AT_ONCE]
            for forecast in cursor.execute(FORECAST, (page, row["now"])):
                backlog = Backlog(
                    backlog.instances + forecast["instances"],
                    backlog.hours + forecast["hours_owed"],
                    backlog.owed + forecast["amount_owed"],
                    backlog.payable + forecast["amount_payable"],
                )
    return backlog
