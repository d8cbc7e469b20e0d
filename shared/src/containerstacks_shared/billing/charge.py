"""Charge a batch of organizations in one transaction: all or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from containerstacks_shared.core.queries import load, read
from containerstacks_shared.database.db import Connection

_CHARGE = load(__name__, "billing")["charge"]
# The rules about money, as `containerstacks migrate` installs them: what runs charge, and what people move by hand.
RULES = tuple(read(__package__, name) for name in ("charge_organizations", "move_money"))
_SERVERS_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Charged:
    """What one batch did. Amounts in USD; an instance counts as unpaid when any due hour of it is."""

    instances_billed: int = 0
    hours_billed: int = 0
    amount_billed: Decimal = Decimal(0)
    instances_unpaid: int = 0
    hours_unpaid: int = 0
    debts_settled: int = 0
    instances_held: int = 0
    instances_unknown_plan: int = 0
    instances_no_price: int = 0
    organizations_without_wallet: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )

    @property
    def problems(self) -> list[dict[str, object]]:
        """Problems for an operator to look at; they did not stop the billing of others."""
        noticed = {
            "price_held": self.instances_held,
            "unknown_plan": self.instances_unknown_plan,
            "no_price": self.instances_no_price,
            "organization_without_wallet": self.organizations_without_wallet,
        }
        return [{"problem": problem, "count": count} for problem, count in noticed.items() if count]


async def charge_organizations(
    connection: Connection,
    organizations: Sequence[UUID],
    *,
    now: datetime,
    run_id: int,
    seconds_max: float | None = None,
) -> Charged:
    """Bill every whole hour that is due at `now`, as far as each wallet reaches.

    The statement may take `seconds_max` (the caller's `statement_timeout`), or what the connection allows. Runs inside
    the caller's transaction, which must be rolled back on any error: `asyncpg.SerializationError` when somebody else
    moved an instance or brought a wallet meanwhile.
    """
    # The server gives up first, with an error of this statement; a timeout here counts as an outage of the server.
    seconds = None if seconds_max is None else seconds_max + _SERVERS_ANSWER_SECONDS
    row = await connection.fetchrow(_CHARGE, organizations, now, run_id, timeout=seconds)
    assert row is not None
    return Charged(**{field.name: row[field.name] for field in fields(Charged)})
