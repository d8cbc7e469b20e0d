"""Documents about billing: the active biller, runs, and what the pages show of them.

Administrators get the `…Details`, which only add fields.
"""

from decimal import Decimal
from enum import StrEnum

from pydantic import Field, computed_field
from pydantic.json_schema import SkipJsonSchema

from containerstacks_shared.core.documents import Count, Document, Figure, Money, Timestamp
from containerstacks_shared.core.money import CURRENCY


class Biller(StrEnum):
    DAEMON = "daemon"
    BUILTIN = "builtin"


class ActiveBiller(StrEnum):
    DAEMON = "daemon"
    BUILTIN = "builtin"
    NONE = "none"


class RunTrigger(StrEnum):
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


class RunHistoryPoint(Document):
    """What the billing runs that began in one step of a chart did, without anything about money.

    `longest_seconds` is None when none of them came to its end.
    """

    started_at: Timestamp
    runs: Count
    failed: Count
    instances_billed: Count
    longest_seconds: Figure | None = None


class DaemonStatus(Document):
    """The public part: whether billing works, without money, hosts or organizations."""

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
    # A biller ended seconds ago, and another is expected; `active_biller` is then `none`.
    # For pages only: the fields of the document that is sent are fixed.
    switching_over: SkipJsonSchema[bool] = Field(default=False, exclude=True)


class BillingRunRecord(Document):
    """One line of an administrator's history of runs. `amountBilledExact` is the amount to read, in `currency`."""

    run_id: int
    biller: Biller
    trigger: RunTrigger
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
    currency: str = CURRENCY

    @computed_field  # type: ignore[prop-decorator]
    @property
    def amount_billed_exact(self) -> Money:
        return self.amount_billed


class AuditSummary(Document):
    """How the last `verify` ended; `inherited` findings are another biller's damage."""

    finished_at: Timestamp
    full: bool
    findings: Count
    inherited: Count


class DaemonDetails(DaemonStatus):
    """`totalAmountExact` is the amount to read, in `currency`."""

    total_amount: Figure = Decimal(0)
    total_hours: Figure = Decimal(0)
    failed_instances: Count = 0
    error_message: str | None = None
    instance_id: str | None = None
    host: str | None = None
    history: list[BillingRunRecord] = Field(default_factory=list)
    # Whole hours that are due and not billed, those of them that wait for money, and where the oldest ones start.
    hours_owed: Count = 0
    oldest_unbilled_hour: Timestamp | None = None
    hours_unpaid: Count = 0
    oldest_unpaid_hour: Timestamp | None = None
    # When those four were read; they cost a look at every instance.
    owed_as_of: Timestamp | None = None
    audit: AuditSummary | None = None
    currency: str = CURRENCY

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total_amount_exact(self) -> Money:
        return self.total_amount
