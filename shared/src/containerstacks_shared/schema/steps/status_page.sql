-- What the status page shows beside the figures: components, incidents and maintenance.

-- What the stats aggregator last measured. What administrators say comes on top when it is read.
create table component_states (
    component text primary key,
    state text not null check (state in ('operational', 'degraded', 'down')),
    because text not null,
    checked_at timestamptz not null
);

-- A row stands for so many minutes from started_at on, and says how many of them were spent in each state: an hour is
-- its minutes added up, a day its hours. A minute without a look is in no row.
create table component_history (
    started_at timestamptz not null,
    component text not null,
    operational smallint not null default 0,
    degraded smallint not null default 0,
    down smallint not null default 0,
    maintenance smallint not null default 0,
    resolution_minutes smallint not null check (resolution_minutes in (1, 60, 1440)),
    primary key (resolution_minutes, started_at, component),
    check (operational + degraded + down + maintenance between 1 and resolution_minutes)
)
with (fillfactor = 90);

-- Maintenance is an incident with a window. Whether it is scheduled, going on or over follows from the time, so
-- nobody has to be alive for it to begin and end.
create table incidents (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('incident', 'maintenance')),
    title text not null check (length(title) between 1 and 200),
    impact text not null check (impact in ('none', 'minor', 'major', 'critical')),
    status text not null,
    components text[] not null check (cardinality(components) > 0),
    created_at timestamptz not null default now() + clock_offset(),
    updated_at timestamptz not null default now() + clock_offset(),
    -- When an incident began, if that was before it was published.
    started_at timestamptz check (started_at <= created_at),
    closed_at timestamptz,
    starts_at timestamptz,
    ends_at timestamptz,
    check (case kind
           when 'incident' then
               status in ('investigating', 'identified', 'monitoring', 'resolved')
               and (status = 'resolved') = (closed_at is not null)
               and starts_at is null and ends_at is null
           else
               status in ('scheduled', 'cancelled')
               and (status = 'cancelled') = (closed_at is not null)
               and starts_at is not null and ends_at is not null and starts_at < ends_at
           end)
);
create index incidents_open on incidents (id) where closed_at is null;

create table incident_updates (
    id bigint generated always as identity primary key,
    incident_id bigint not null references incidents (id) on delete cascade,
    status text not null,
    body text not null check (length(body) between 1 and 5000),
    author text not null,
    created_at timestamptz not null default now() + clock_offset()
);
create index incident_updates_incident on incident_updates (incident_id, id);

-- Templates that administrators begin an incident with; nobody else sees them.
create table incident_templates (
    id bigint generated always as identity primary key,
    name text not null unique check (length(name) between 1 and 100),
    title text not null check (length(title) between 1 and 200),
    body text not null check (length(body) between 1 and 5000),
    impact text not null check (impact in ('none', 'minor', 'major', 'critical')),
    components text[] not null check (cardinality(components) > 0),
    changed_by text not null,
    changed_at timestamptz not null default now() + clock_offset()
);

-- Notifies every open page of a change, by any writer.
create function announce_incidents() returns trigger
    language plpgsql
    as $$
begin
    perform pg_notify('incidents_changed', '');
    return null;
end;
$$;
create trigger containerstacks_announce after insert or update or delete or truncate on incidents
    for each statement execute function announce_incidents();
create trigger containerstacks_announce after insert or update or delete or truncate on incident_updates
    for each statement execute function announce_incidents();
