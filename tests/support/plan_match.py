"""The rule about plans once more, as plain Python: which plan row an instance's plan reference means."""

from collections.abc import Iterable
from typing import Any

import asyncpg


def meant_plan(plans: Iterable[asyncpg.Record], plan_id: str, region: str) -> asyncpg.Record | None:
    """The exact id; else the provider's id in the region; else the oldest active row; else the oldest."""

    def rank(plan: asyncpg.Record) -> tuple[Any, ...]:
        return (
            str(plan["id"]) != plan_id,
            region == "" or region != _region(plan["specifications"]),
            not plan["active"],
            plan["created_at"],
            plan["id"].bytes,
        )

    candidates = [plan for plan in plans if plan_id in {str(plan["id"]), plan["provider_plan_id"]}]
    return min(candidates, key=rank, default=None)


def _region(specifications: object) -> object:
    if not isinstance(specifications, dict):
        return None
    return specifications.get("region", specifications.get("region_id"))
