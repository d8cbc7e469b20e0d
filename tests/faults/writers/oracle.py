"""The oracle: computes in plain Python, from the history of plans and instances, what each hour must have cost."""

import itertools
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from support.billing_model import HOUR, PlanHistory

_SHOWN_MAX = 5
_VERSIONS = "select * from vps_plan_versions order by id"
_CHANGES = "select * from vps_plan_changes order by changed_at, id"
_INSTANCES = """
select id, plan_id, configured_region(configuration) as region, coalesce(last_billed_at, created_at) as billed_until,
       null::timestamptz as deleted_at
  from vps_instances
 union all
select d.id, d.plan_id, d.region, coalesce(d.last_billed_at, d.created_at), d.deleted_at
  from deleted_vps_instances d
 where not exists (select from vps_instances i where i.id = d.id)
"""
_CYCLES = """
select vps_instance_id, billing_period_start, billing_period_end, hourly_rate, total_amount, created_at
  from all_vps_billing_cycles()
 where status in ('billed', 'refunded')
 order by vps_instance_id, billing_period_start
"""


async def differences(connection: asyncpg.Connection) -> list[str]:
    """Check every hour ever charged, and name those that are charged twice, missing, or at a wrong price."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        prices = _prices(await connection.fetch(_VERSIONS))
        changes: dict[UUID, list[Any]] = defaultdict(list)
        for change in await connection.fetch(_CHANGES):
            changes[change["vps_instance_id"]].append(change)
        instances = {row["id"]: row for row in await connection.fetch(_INSTANCES)}
        cycles: dict[UUID, list[Any]] = defaultdict(list)
        for cycle in await connection.fetch(_CYCLES):
            cycles[cycle["vps_instance_id"]].append(cycle)
    found: list[str] = []
    for identifier, charged in cycles.items():
        found += _chain(identifier, charged, instances.get(identifier))
        for cycle in charged:
            found += _hours(cycle, instances.get(identifier), changes[identifier], prices)
        if len(found) > _SHOWN_MAX:
            break
    return found[:_SHOWN_MAX]


def _chain(identifier: UUID, charged: list[Any], instance: Any) -> list[str]:
    if instance is None:
        return [f"{identifier} was charged, and never existed"]
    found = [
        f"{identifier}: gap or overlap from {before['billing_period_end']} to {after['billing_period_start']}"
        for before, after in itertools.pairwise(charged)
        if before["billing_period_end"] != after["billing_period_start"]
    ]
    end = charged[-1]["billing_period_end"]
    if end != instance["billed_until"]:
        found.append(f"{identifier} was charged until {end}, its mark says {instance['billed_until']}")
    if instance["deleted_at"] is not None and end > instance["deleted_at"]:
        found.append(f"{identifier} was charged until {end}, and deleted at {instance['deleted_at']}")
    return found


def _hours(cycle: Any, instance: Any, changes: list[Any], prices: dict[UUID, PlanHistory]) -> list[str]:
    found = []
    start, total = cycle["billing_period_start"], Decimal(0)
    while start < cycle["billing_period_end"]:
        plan = next(
            (change["plan_id_before"] for change in changes if change["changed_at"] > start),
            instance["plan_id"] if instance else "",
        )
        expected = prices[UUID(plan)].rate_at(start)
        if cycle["hourly_rate"] != expected:
            found.append(
                f"the hour from {start} cost {cycle['hourly_rate']}, its plan {plan} cost {expected}"
            )
        total += cycle["hourly_rate"]
        start += HOUR
    if (start, total) != (cycle["billing_period_end"], cycle["total_amount"]):
        found.append(f"not whole hours, or not their sum: {cycle}")
    if cycle["billing_period_end"] > cycle["created_at"]:
        found.append(f"charged before its end: {cycle}")
    return found


def _prices(versions: list[Any]) -> dict[UUID, PlanHistory]:
    histories: dict[UUID, PlanHistory] = defaultdict(PlanHistory)
    for version in versions:
        moment: datetime = version["in_force_from"]
        if version["is_gone"]:
            histories[version["vps_plan_id"]].gone(moment)
        else:
            histories[version["vps_plan_id"]].priced(moment, version["base_price"], version["markup_price"])
    return histories
