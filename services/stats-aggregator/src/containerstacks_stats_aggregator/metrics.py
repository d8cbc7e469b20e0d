"""Metrics of the aggregator. Only the leader folds and recounts; a standby's figures stand still."""

from typing import Final

from prometheus_client import Counter, Gauge

LEADER: Final = Gauge("containerstacks_aggregator_leader", "1 while this process folds.")
FOLDS: Final = Counter("containerstacks_aggregator_folds", "Transactions that moved deltas into the counts.")
DELTAS_FOLDED: Final = Counter("containerstacks_aggregator_deltas_folded", "Deltas moved into the counts.")
DELTAS_PENDING: Final = Gauge(
    "containerstacks_aggregator_deltas_pending", "Deltas that the last fold left behind."
)
CAUGHT_UP_AT: Final = Gauge(
    "containerstacks_aggregator_caught_up_timestamp_seconds", "When a fold last left nothing behind."
)
RECONCILED_AT: Final = Gauge(
    "containerstacks_aggregator_reconciled_timestamp_seconds",
    "When this process last recounted the base tables.",
)
DRIFT: Final = Gauge(
    "containerstacks_aggregator_drift", "Counts that the last recount found wrong and repaired."
)
DRIFT_TOTAL: Final = Counter("containerstacks_aggregator_drift_repaired", "Counts found wrong and repaired.")
RECORDED_AT: Final = Gauge(
    "containerstacks_aggregator_history_recorded_timestamp_seconds",
    "When this process last recorded the counts for the charts.",
)
COMPONENTS_RECORDED_AT: Final = Gauge(
    "containerstacks_aggregator_components_recorded_timestamp_seconds",
    "When this process last recorded the state of the status page's components.",
)

# What every aggregator reads from the database, also one that stands by.
NOTIFICATION_QUEUE: Final = Gauge(
    "containerstacks_database_notification_queue_ratio",
    "How full PostgreSQL's queue of notifications is, 0 to 1; at 1, transactions that notify fail.",
)
CONNECTIONS: Final = Gauge(
    "containerstacks_database_connections", "Sessions on the server, of all its databases."
)
CONNECTIONS_MAX: Final = Gauge(
    "containerstacks_database_connections_max", "The most sessions that the server allows."
)
BILLING_PAUSED: Final = Gauge(
    "containerstacks_database_billing_paused", "1 while the database says that billing is paused."
)
LAST_SUCCESS_AT: Final = Gauge(
    "containerstacks_database_last_success_timestamp_seconds",
    "When a billing run of any biller last succeeded, by the database; 0 is never.",
)
AUDIT_FINDINGS: Final = Gauge(
    "containerstacks_database_audit_findings",
    "Rows that the last audit, by any process, found to break an invariant of ours.",
)
PRICE_HOLDS: Final = Gauge(
    "containerstacks_database_price_holds", "Plans whose hours wait because their price is held."
)
CHARGES_REFUSED: Final = Gauge(
    "containerstacks_database_application_charges_refused",
    "How often the database has refused an hourly charge of the application's own biller.",
)
CHARGES_GIVEN_BACK: Final = Gauge(
    "containerstacks_database_application_charges_given_back",
    "Hourly charges of the application that the database gave back, because the hours were billed already.",
)
WRITES_MENDED: Final = Gauge(
    "containerstacks_database_application_writes_mended",
    "Wallet writes of the application that would have undone another program's, and were mended.",
)
SCHEMA_CHANGED: Final = Gauge(
    "containerstacks_database_schema_changed",
    "1 while an upgrade of the application waits for `containerstacks migrate`.",
)
MEASURED_AT: Final = Gauge(
    "containerstacks_database_measured_timestamp_seconds",
    "When this process last read these figures from the database.",
)
