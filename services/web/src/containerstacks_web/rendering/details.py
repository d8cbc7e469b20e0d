"""What administrators see of the fleet and of billing, on the status page and on their own."""

from collections.abc import Iterable
from dataclasses import dataclass

from containerstacks_shared.billing.control import BillingControl
from containerstacks_shared.billing.documents import DaemonDetails
from containerstacks_shared.fleet.vps import VpsDetails, VpsPlanCount


@dataclass(frozen=True)
class Details:
    """What only administrators see. Each row has a name and a number."""

    daemon: DaemonDetails
    control: BillingControl
    raw_statuses: list[tuple[str, int]]
    regions: list[tuple[str, int]]
    plans: list[tuple[str, int]]
    invalid_specifications: list[tuple[str, str]]


def present_details(vps: VpsDetails, daemon: DaemonDetails, control: BillingControl) -> Details:
    return Details(
        daemon=daemon,
        control=control,
        raw_statuses=_most_first((raw or "(none)", amount) for raw, amount in vps.by_raw_status.items()),
        regions=_most_first((region.region or "(none)", region.total) for region in vps.by_region),
        plans=_most_first((_plan_name(plan), plan.total) for plan in vps.by_plan),
        invalid_specifications=[(plan.name, plan.problem) for plan in vps.invalid_specifications],
    )


def _plan_name(plan: VpsPlanCount) -> str:
    return f"{plan.plan_id} (no such plan)" if plan.name is None else plan.name


def _most_first(rows: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(rows, key=lambda row: (-row[1], row[0]))
