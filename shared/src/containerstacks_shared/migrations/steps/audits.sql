-- What `verify` looked at, and what it found. An audit goes on from the last clean one: the covered_… say up to where
-- that one had seen everything.
create table billing_audits (
    id bigint generated always as identity primary key,
    is_full boolean not null,
    based_on bigint references billing_audits (id),
    started_at timestamptz not null default clock_now(),
    finished_at timestamptz,
    covered_run_id bigint,
    covered_ledger_entry_id bigint,
    covered_correction_id bigint,
    findings_own bigint,
    findings_inherited bigint,
    findings jsonb not null default '[]',
    check ((finished_at is null) = (findings_own is null))
);
create index billing_audits_clean on billing_audits (id) where findings_own = 0;
