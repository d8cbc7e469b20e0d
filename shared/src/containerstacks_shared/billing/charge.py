"""Charge a batch of organizations in one transaction: all of it happens, or none of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from containerstacks_shared.db import Connection
from containerstacks_shared.errors import ContainerStacksError
from containerstacks_shared.sql import load

_QUERIES = load("billing")
CHARGE = _QUERIES["part_charges"] + _QUERIES["part_charge"]


class InstanceMoved(ContainerStacksError):  # noqa: N818 - named by what happened
    """Somebody else advanced or deleted an instance meanwhile. Roll back, and look again."""


class WalletAppeared(ContainerStacksError):  # noqa: N818 - named by what happened
    """A wallet came after the others were locked, so its balance could move meanwhile. Roll back, and look again."""


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
        """What an operator should look at, though it stopped nobody's billing."""
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

    The statement may take `seconds_max`, or what the connection allows. Runs inside the caller's transaction,
    which must be rolled back on any error. Raises `InstanceMoved` and `WalletAppeared`.
    """
    locked = {wallet["id"] for wallet in await connection.fetch(_QUERIES["lock_wallets"], organizations)}
    row = await connection.fetchrow(CHARGE, organizations, now, run_id, timeout=seconds_max)
    assert row is not None
    if row["instances_advanced"] != row["instances_billed"]:
        raise InstanceMoved(
            f"{row['instances_billed'] - row['instances_advanced']} instances changed under a billing batch"
        )
    if not locked.issuperset(row["wallets_charged"]):
        raise WalletAppeared(
            f"{len(set(row['wallets_charged']) - locked)} wallets appeared under a billing batch"
        )
    return Charged(**{field.name: row[field.name] for field in fields(Charged)})
