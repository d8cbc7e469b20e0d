-- Alerts. A condition is noticed, opened as an alert when it has held for long enough, and resolved when it ends. One that
-- ends before that is deleted.
create table alerts (
    id bigint generated always as identity primary key,
    kind text not null,
    -- What it is about, where there may be several: an organization's id, a plan's id.
    subject text not null default '',
    summary text not null,
    noticed_at timestamptz not null default now() + clock_offset(),
    opened_at timestamptz,
    resolved_at timestamptz,
    check (resolved_at is null or opened_at is not null)
);
-- The same trouble is one alert, however many processes notice it, and however often.
create unique index alerts_once on alerts (kind, subject) where resolved_at is null;
create index alerts_resolved on alerts (resolved_at) where resolved_at is not null;

-- When each check was last made, and up to where it saw: when a delta was appended, a run's id. The row's lock decides who checks.
create table alert_checks (
    name text primary key,
    checked_at timestamptz not null default '-infinity',
    seen bigint not null default 0
);
insert into alert_checks (name) values ('services'), ('runways');
