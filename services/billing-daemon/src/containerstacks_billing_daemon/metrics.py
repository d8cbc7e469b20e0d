"""Metrics of the daemon. Anyone on the network may read them, so none shows an amount of money."""

from datetime import datetime
from typing import Final

from prometheus_client import Counter, Gauge

# Prometheus counts time in seconds, also where billing counts hours.
SECONDS_PER_HOUR: Final = 3600

LEADER: Final = Gauge("containerstacks_billing_leader", "1 while this process bills.")
PAUSED: Final = Gauge("containerstacks_billing_paused", "1 while billing is paused by an operator.")
RUNS: Final = Counter(
    "containerstacks_billing_runs", "Billing runs of this process, by how they ended.", ["status"]
)
INSTANCES_BILLED: Final = Counter(
    "containerstacks_billing_instances_billed", "Instances charged by this process."
)
SECONDS_BILLED: Final = Counter(
    "containerstacks_billing_billed_seconds", "The hours charged by this process, in seconds."
)
LAST_SUCCESS_AT: Final = Gauge(
    "containerstacks_billing_last_success_timestamp_seconds",
    "When a billing run of any biller last succeeded.",
)
NEXT_RUN_AT: Final = Gauge("containerstacks_billing_next_run_timestamp_seconds", "When the next run is due.")
SECONDS_OWED: Final = Gauge(
    "containerstacks_billing_owed_seconds", "The whole hours that are due and not billed, in seconds."
)
OWED_SINCE: Final = Gauge(
    "containerstacks_billing_owed_since_timestamp_seconds",
    "Where the oldest unbilled hour starts; 0 when nothing is owed.",
)
SECONDS_UNPAID: Final = Gauge(
    "containerstacks_billing_unpaid_seconds", "The whole hours that are due and wait for money, in seconds."
)
UNPAID_SINCE: Final = Gauge(
    "containerstacks_billing_unpaid_since_timestamp_seconds",
    "Where the oldest unpaid hour starts; 0 when nothing waits for money.",
)
PROGRESS_HEALTHY: Final = Gauge(
    "containerstacks_billing_progress_healthy",
    "0 while hours that two scheduled runs should have billed are unbilled for no valid reason.",
)
AUDIT_AT: Final = Gauge(
    "containerstacks_billing_audit_timestamp_seconds",
    "When the last audit of the money was finished; 0 before the first.",
)
AUDIT_FINDINGS: Final = Gauge(
    "containerstacks_billing_audit_findings", "Rows that the last audit found to break an invariant of ours."
)


def set_moment(gauge: Gauge, moment: datetime | None) -> None:
    """Show a moment as Prometheus does, in seconds since 1970; 0 is never."""
    gauge.set(moment.timestamp() if moment is not None else 0)
