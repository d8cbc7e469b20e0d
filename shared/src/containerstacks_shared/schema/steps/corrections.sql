-- Refunds and write-offs: each decision, its author and reason. The changed rows carry its id. The deletion of an organization
-- writes off its debts, and is recorded too.
-- A refunded cycle keeps its run and becomes `refunded`; its hours stay covered. A written-off cycle has no run and
-- no debit: it is `refunded` from the beginning, and covers hours that are never paid.
create table billing_corrections (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('refund', 'write_off', 'organization_deleted')),
    billing_run_id bigint,
    vps_billing_cycle_id uuid,
    organization_id uuid,
    vps_instance_id uuid,
    reason text not null,
    author text not null,
    decided_at timestamptz not null default clock_present()
);
create index billing_corrections_deletions on billing_corrections (organization_id) where kind = 'organization_deleted';

-- A cycle is refunded once: its id is the refund's reference.
create unique index payment_transactions_refund_reference on payment_transactions (provider_transaction_id)
    where payment_method = 'wallet_refund' and wallet_ledger_entry_id is not null;

create index vps_billing_cycles_written_off on vps_billing_cycles (billing_correction_id)
    where billing_run_id is null and billing_correction_id is not null;

-- Rows are appended in the order of their runs, so a few bytes per megabyte are enough to find those of one run, and
-- a run does not notice them.
create index vps_billing_cycles_runs on vps_billing_cycles using brin (billing_run_id);
create index payment_transactions_entries on payment_transactions using brin (wallet_ledger_entry_id);

-- A statement is of an organization and a month.
create index wallet_ledger_entries_statement on wallet_ledger_entries (organization_id, recorded_at);

-- The ledger cannot be changed, so what an operator found out about an unexplained entry stands beside it.
create table ledger_explanations (
    wallet_ledger_entry_id bigint primary key,
    reason text not null,
    author text not null,
    explained_at timestamptz not null default clock_present(),
    -- A refund of the application's explains one movement (guard_refunds.sql).
    application_refund_id uuid unique
);
