"""The fleet by status, the all-time totals, and the two writers of `counts`: folding and reconciling.

Readers add counts and unfolded deltas, so they are right whether anybody folds or not. Each function that
reads runs the statements it needs one after the other: for one consistent picture, make several calls in a
repeatable-read transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import asyncpg

from containerstacks_shared.core.queries import load
from containerstacks_shared.database.db import ADVISORY_LOCK_CLASS, HINT_LOCK, Connection

from .platform import (
    PlanDetails,
    PlanTotals,
    PlatformDetails,
    PlatformStatistics,
    SupportDetails,
    SupportTotals,
    Total,
    UserDetails,
    VpsTotalDetails,
)
from .vps import (
    InvalidSpecification,
    VpsDetails,
    VpsPlanCount,
    VpsRegionCount,
    VpsResources,
    VpsStatistics,
    VpsStatusCounts,
)

QUERIES = load(__name__)

# Plans state megabytes, and providers sell a "2 GB" plan as 2048 of them.
_MB_PER_GB = 1024
_GB_STEP = Decimal("0.01")


@dataclass(frozen=True)
class Drift:
    """A count that differed from the base tables, and has been repaired."""

    metric: str
    status: str
    plan_id: str
    region: str
    recorded: int
    counted: int


async def read_vps_statistics(connection: Connection) -> VpsStatistics:
    """Count every instance there is, and add up what its plan allocates: 1024 MB are one GB."""
    rows = await connection.fetch(QUERIES["vps_statuses"])
    by_status = VpsStatusCounts.of_raw_statuses({row["status"]: row["amount"] for row in rows})
    return VpsStatistics(total=by_status.total, by_status=by_status, resources=_resources(rows))


async def read_vps_details(connection: Connection) -> VpsDetails:
    """Read the statistics and what they are made of; a NULL status appears as an empty one."""
    rows = await connection.fetch(QUERIES["vps_breakdown"])
    invalid = await connection.fetch(QUERIES["invalid_specifications"])
    statuses = [row for row in rows if row["kind"] == "status"]
    by_raw_status = {row["status"]: row["amount"] for row in statuses}
    by_status = VpsStatusCounts.of_raw_statuses(by_raw_status)
    return VpsDetails(
        total=by_status.total,
        by_status=by_status,
        resources=_resources(statuses),
        by_raw_status=by_raw_status,
        by_region=[
            VpsRegionCount(region=row["region"], total=row["amount"])
            for row in rows
            if row["kind"] == "region"
        ],
        by_plan=[
            VpsPlanCount(
                plan_id=row["plan_id"],
                vps_plan_id=row["vps_plan_id"],
                name=row["name"],
                total=row["amount"],
            )
            for row in rows
            if row["kind"] == "plan"
        ],
        invalid_specifications=[
            InvalidSpecification(vps_plan_id=row["vps_plan_id"], name=row["name"], problem=row["problem"])
            for row in invalid
        ],
    )


async def read_platform_statistics(connection: Connection) -> PlatformStatistics:
    totals = await _all_time_totals(connection)
    (offers,) = await connection.fetch(QUERIES["offers"])
    return PlatformStatistics(
        users=Total(total=totals.get("users_total", 0)),
        organizations=Total(total=totals.get("organizations_total", 0)),
        vps=Total(total=totals.get("vps_instances_total", 0)),
        containers=Total(total=totals.get("containers_total", 0)),
        support=SupportTotals(total_tickets=totals.get("support_tickets_total", 0)),
        plans=PlanTotals(vps_plans=offers["vps_plans"]),
        regions=Total(total=offers["regions"]),
    )


async def read_platform_details(connection: Connection) -> PlatformDetails:
    """Read the all-time totals, and the present numbers: an active VPS is one that is not deleted."""
    public = await read_platform_statistics(connection)
    (now,) = await connection.fetch(QUERIES["platform_details"])
    return PlatformDetails(
        users=UserDetails(total=public.users.total, admins=now["admins"], regular=now["regular_users"]),
        organizations=public.organizations,
        vps=VpsTotalDetails(total=public.vps.total, active=now["active_vps"]),
        containers=public.containers,
        support=SupportDetails(total_tickets=public.support.total_tickets, open_tickets=now["open_tickets"]),
        plans=PlanDetails(vps_plans=public.plans.vps_plans, container_plans=now["container_plans"]),
        regions=public.regions,
    )


async def fold_deltas(connection: Connection, limit: int) -> int:
    """Move up to `limit` deltas into the counts, in a transaction that has checked its term; return how many."""
    folded: int = await connection.fetchval(QUERIES["fold_deltas"], limit)
    return folded


async def pending_deltas(connection: Connection) -> int:
    pending: int = await connection.fetchval(QUERIES["pending_deltas"])
    return pending


async def has_deltas(connection: Connection) -> bool:
    """Return whether there is anything to fold. Writes nothing."""
    some: bool = await connection.fetchval(QUERIES["has_deltas"])
    return some


async def hold_hints(connection: Connection, *, wait_max: timedelta) -> bool:
    """Keep writers from sending hints until the caller's transaction ends; the caller then sends one in their stead.

    Return False when one writer kept the lock for longer than `wait_max`.
    """
    milliseconds = f"{wait_max / timedelta(milliseconds=1):.0f}ms"
    try:
        # A savepoint: after a wait in vain the caller's transaction goes on.
        async with connection.transaction():
            await connection.execute(QUERIES["hold_hints"], milliseconds, ADVISORY_LOCK_CLASS, HINT_LOCK)
    except asyncpg.LockNotAvailableError:
        return False
    return True


async def reconcile(connection: Connection) -> list[Drift]:
    """Recount from the base tables, repair what drifted, and return it.

    Runs in a read-committed transaction that has checked its term: the recount takes its snapshot after the
    lock that holds off TRUNCATE, and two who repaired the same drift at once would repair it twice.
    """
    await connection.execute(QUERIES["hold_base_tables"])
    rows = await connection.fetch(QUERIES["reconcile"])
    return [Drift(**dict(row)) for row in rows]


async def is_below_zero(connection: Connection) -> bool:
    """Return whether some count is negative, and so has certainly drifted."""
    below: bool = await connection.fetchval(QUERIES["is_below_zero"])
    return below


async def _all_time_totals(connection: Connection) -> dict[str, int]:
    return {row["metric"]: row["amount"] for row in await connection.fetch(QUERIES["all_time_totals"])}


def _resources(rows: Iterable[asyncpg.Record]) -> VpsResources:
    rows = list(rows)
    return VpsResources(
        total_vcpus=sum((row["vcpus"] for row in rows), Decimal(0)),
        total_memory_gb=_gigabytes(sum((row["memory_mb"] for row in rows), Decimal(0))),
        total_disk_gb=_gigabytes(sum((row["disk_mb"] for row in rows), Decimal(0))),
    )


def _gigabytes(megabytes: Decimal) -> Decimal:
    return (megabytes / _MB_PER_GB).quantize(_GB_STEP)
