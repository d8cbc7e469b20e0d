"""The documents that pages, API and socket show, and the words they are made of.

One document describes the status. Its JSON names are those that existing front ends already read, so
an alias here changes only together with the interface. Anonymous callers get the classes named after
the thing; administrators get the `…Details` beside it, which only add fields.
"""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, NewType, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

UserId = NewType("UserId", UUID)
OrganizationId = NewType("OrganizationId", UUID)
WalletId = NewType("WalletId", UUID)
VpsInstanceId = NewType("VpsInstanceId", UUID)
VpsPlanId = NewType("VpsPlanId", UUID)
BillingRunId = NewType("BillingRunId", int)


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json_number(value: Decimal) -> int | float:
    """Spell whole numbers without a fraction. Up to fifteen digits pass unchanged, and no figure has more."""
    return int(value) if value == value.to_integral_value() else float(value)


Timestamp = Annotated[AwareDatetime, PlainSerializer(_utc_text, return_type=str, when_used="json")]
Figure = Annotated[Decimal, PlainSerializer(_json_number, return_type=int | float, when_used="json")]
Count = Annotated[int, Field(ge=0)]


class Document(BaseModel):
    """Frozen, and camelCase on the wire whoever serialises it."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


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


class Biller(StrEnum):
    DAEMON = "daemon"
    BUILTIN = "builtin"


class ActiveBiller(StrEnum):
    DAEMON = "daemon"
    BUILTIN = "builtin"
    NONE = "none"


class Occasion(StrEnum):
    """Why a billing run began."""

    START = "start"
    SCHEDULE = "schedule"
    ONCE = "once"
    TOP_UP = "top_up"


class RunStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class DaemonState(StrEnum):
    """`stopped` is a daemon that was seen and is not alive, however it ended; `unknown` was never seen."""

    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"
    UNKNOWN = "unknown"


# The fleet --------------------------------------------------------------------------------------


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
    by_raw_status: dict[str, int] = {}
    by_region: list[VpsRegionCount] = []
    by_plan: list[VpsPlanCount] = []
    invalid_specifications: list[InvalidSpecification] = []


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


class RunHistoryPoint(Document):
    """What the billing runs that began in one step of a chart did, without anything about money.

    `longest_seconds` is None when none of them came to its end.
    """

    started_at: Timestamp
    runs: Count
    failed: Count
    instances_billed: Count
    longest_seconds: Figure | None = None


# Billing ----------------------------------------------------------------------------------------


class DaemonStatus(Document):
    """The public part: whether billing lives, and nothing about money, hosts or organizations."""

    status: DaemonState = DaemonState.UNKNOWN
    last_run: Timestamp | None = None
    last_run_by: Biller | None = None
    last_successful_run: Timestamp | None = None
    last_run_success: bool | None = None
    instances_billed: Count = 0
    next_scheduled_run: Timestamp | None = None
    uptime_minutes: Count | None = None
    is_stale: bool = True
    warning_threshold_exceeded: bool = True
    active_biller: ActiveBiller = ActiveBiller.NONE


class BillingRunRecord(Document):
    """One line of an administrator's history of runs."""

    run_id: int
    biller: Biller
    occasion: Occasion
    holder: str
    status: RunStatus
    started_at: Timestamp
    finished_at: Timestamp | None = None
    instances_billed: Count = 0
    hours_billed: Count = 0
    amount_billed: Figure = Decimal(0)
    instances_unpaid: Count = 0
    hours_unpaid: Count = 0
    error_message: str | None = None


class AuditSummary(Document):
    """How the last `verify` ended; `inherited` findings are damage that another biller of this database did."""

    finished_at: Timestamp
    full: bool
    findings: Count
    inherited: Count


class DaemonDetails(DaemonStatus):
    total_amount: Figure = Decimal(0)
    total_hours: Figure = Decimal(0)
    failed_instances: Count = 0
    error_message: str | None = None
    instance_id: str | None = None
    host: str | None = None
    history: list[BillingRunRecord] = []
    # Whole hours that are due and not billed, those of them that wait for money, and where the oldest ones start.
    hours_owed: Count = 0
    oldest_unbilled_hour: Timestamp | None = None
    hours_unpaid: Count = 0
    oldest_unpaid_hour: Timestamp | None = None
    # When those four were read; they cost a look at every instance.
    owed_as_of: Timestamp | None = None
    audit: AuditSummary | None = None


# The platform -----------------------------------------------------------------------------------


class Total(Document):
    total: Count = 0


class SupportTotals(Document):
    total_tickets: Count = 0


class PlanTotals(Document):
    vps_plans: Count = 0


class PlatformStatistics(Document):
    """Users, organizations, VPS, containers and tickets of all time; plans and regions of now."""

    users: Total = Total()
    organizations: Total = Total()
    vps: Total = Total()
    containers: Total = Total()
    support: SupportTotals = SupportTotals()
    plans: PlanTotals = PlanTotals()
    regions: Total = Total()
    # When the cached figures will be taken anew; whoever caches them fills it in.
    cache_expiry: Timestamp | None = None


class UserDetails(Total):
    """All time, and how many of each role there are now."""

    admins: Count = 0
    regular: Count = 0


class VpsTotalDetails(Total):
    active: Count = 0


class SupportDetails(SupportTotals):
    open_tickets: Count = 0


class PlanDetails(PlanTotals):
    container_plans: Count = 0


class PlatformDetails(PlatformStatistics):
    users: UserDetails = UserDetails()
    vps: VpsTotalDetails = VpsTotalDetails()
    support: SupportDetails = SupportDetails()
    plans: PlanDetails = PlanDetails()


# What goes over the wire ------------------------------------------------------------------------


class HealthDocument(Document):
    success: Literal[True] = True
    message: str
    timestamp: Timestamp
    version: str


class VpsStatisticsDocument(Document):
    success: Literal[True] = True
    timestamp: Timestamp
    last_updated: Timestamp
    vps: VpsDetails | VpsStatistics


class DaemonStatusDocument(Document):
    success: Literal[True] = True
    timestamp: Timestamp
    daemon: DaemonDetails | DaemonStatus


class PlatformStatisticsDocument(Document):
    success: Literal[True] = True
    timestamp: Timestamp
    stats: PlatformDetails | PlatformStatistics


class StatusMessage(Document):
    """What the WebSocket sends. Of two messages the one with the greater version was read later."""

    type: Literal["status"] = "status"
    version: int
    timestamp: Timestamp
    vps: VpsStatistics
    daemon: DaemonStatus
