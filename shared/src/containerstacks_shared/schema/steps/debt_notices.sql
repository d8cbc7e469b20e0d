-- What the operator's own systems are told about debts: an outbox, one row per debt, event and receiver. Whoever bills
-- claims a row for a moment, calls the receiver outside any transaction, and writes down what came of it.
create table debt_notices (
    id bigint generated always as identity primary key,
    vps_debt_id bigint not null,
    event text not null check (event in ('debt_overdue', 'debt_settled')),
    receiver text not null check (receiver in ('command', 'url')),
    payload jsonb not null,
    created_at timestamptz not null default clock_now(),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default clock_now(),
    claimed_until timestamptz,
    outcome text check (outcome in ('delivered', 'given_up', 'withdrawn')),
    ended_at timestamptz,
    last_error text,
    -- Of an overdue notice: nothing will follow it.
    closed boolean not null default false,
    check ((outcome is null) = (ended_at is null))
);
-- Each is told once.
create unique index debt_notices_once on debt_notices (vps_debt_id, event, receiver);
create index debt_notices_waiting on debt_notices (next_attempt_at) where outcome is null;
create index debt_notices_open on debt_notices (vps_debt_id) where event = 'debt_overdue' and not closed;
