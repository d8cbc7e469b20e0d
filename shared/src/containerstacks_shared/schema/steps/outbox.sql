-- Messages to other systems: alerts to their receivers, debts to the debt hook. One row per
-- subject, event and receiver, written in the transaction that makes it true. The process that claims a row for a moment
-- delivers it, outside any transaction, and records the outcome.
create table outbox_messages (
    id bigint generated always as identity primary key,
    topic text not null check (topic in ('alert', 'debt')),
    -- The id of the alert or of the debt. Its messages reach a receiver one after the other.
    subject_id bigint not null,
    event text not null,
    -- A name, or a digest of an address that is a secret.
    receiver text not null,
    payload jsonb not null,
    -- Messages of one batch and event may be delivered by one call.
    batch text,
    -- The receiver is to be notified of the subject's end, which is not noted yet.
    awaits_end boolean not null default false,
    created_at timestamptz not null default now() + clock_offset(),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now() + clock_offset(),
    claimed_until timestamptz,
    outcome text check (outcome in ('delivered', 'given_up', 'withdrawn')),
    ended_at timestamptz,
    last_error text,
    check ((outcome is null) = (ended_at is null)),
    -- Each is sent once.
    unique (topic, subject_id, event, receiver)
);
create index outbox_messages_waiting on outbox_messages (topic, receiver, id) where outcome is null;
create index outbox_messages_awaiting_end on outbox_messages (topic, subject_id) where awaits_end;
