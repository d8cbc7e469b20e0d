"""The VPS fleet in figures: statuses, resources, regions and plans.

The JSON names are those that existing front ends already read, so an alias here changes only together with the
interface. Administrators get the `…Details`, which only add fields.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import Field

from containerstacks_shared.core.documents import Count, Document, Figure, Timestamp


class VpsStatusGroup(StrEnum):
    """What a provider's raw status means to a reader of the page."""

    RUNNING = "running"
    STOPPED = "stopped"
    PROVISIONING = "provisioning"
    REBOOTING = "rebooting"
    ERROR = "error"
    OTHER = "other"

    @classmethod
    def of(cls, raw_status: str | None) -> "VpsStatusGroup":
        return _GROUP_OF_RAW_STATUS.get(raw_status or "", cls.OTHER)


_GROUP_OF_RAW_STATUS = {
    **{group.value: group for group in VpsStatusGroup},
    **dict.fromkeys(
        ("offline", "shutting_down", "suspended", "billing_suspension"),
        VpsStatusGroup.STOPPED,
    ),
    **dict.fromkeys(
        ("booting", "cloning", "restoring", "rebuilding", "migrating"),
        VpsStatusGroup.PROVISIONING,
    ),
    "failed": VpsStatusGroup.ERROR,
}


class VpsStatusCounts(Document):
    running: Count = 0
    stopped: Count = 0
    provisioning: Count = 0
    rebooting: Count = 0
    error: Count = 0
    other: Count = 0

    @classmethod
    def of_raw_statuses(cls, by_raw_status: dict[str, int]) -> Self:
        amounts = dict.fromkeys(VpsStatusGroup, 0)
        for raw_status, amount in by_raw_status.items():
            amounts[VpsStatusGroup.of(raw_status)] += amount
        return cls(**{group.value: amount for group, amount in amounts.items()})

    @property
    def total(self) -> int:
        return self.running + self.stopped + self.provisioning + self.rebooting + self.error + self.other


class VpsResources(Document):
    """Allocated to all instances together."""

    total_vcpus: Figure = Field(default=Decimal(0), alias="totalVCPUs")
    total_memory_gb: Figure = Field(default=Decimal(0), alias="totalMemoryGB")
    total_disk_gb: Figure = Field(default=Decimal(0), alias="totalDiskGB")


class VpsStatistics(Document):
    total: Count = 0
    by_status: VpsStatusCounts = VpsStatusCounts()
    resources: VpsResources = VpsResources()


class VpsRegionCount(Document):
    region: str
    total: Count


class VpsPlanCount(Document):
    """`plan_id` is what the instances carry; the other two are None when no plan row matches it."""

    plan_id: str
    vps_plan_id: UUID | None = None
    name: str | None = None
    total: Count


class InvalidSpecification(Document):
    """A plan whose specifications cannot be read: it counts as zero resources."""

    vps_plan_id: UUID
    name: str
    problem: str


class VpsDetails(VpsStatistics):
    by_raw_status: dict[str, int] = Field(default_factory=dict)
    by_region: list[VpsRegionCount] = Field(default_factory=list)
    by_plan: list[VpsPlanCount] = Field(default_factory=list)
    invalid_specifications: list[InvalidSpecification] = Field(default_factory=list)


class VpsHistoryPoint(Document):
    """One step of a chart: averages over its samples, all None when there are none."""

    started_at: Timestamp
    samples: Count
    running: Figure | None = None
    stopped: Figure | None = None
    provisioning: Figure | None = None
    rebooting: Figure | None = None
    error: Figure | None = None
    other: Figure | None = None
