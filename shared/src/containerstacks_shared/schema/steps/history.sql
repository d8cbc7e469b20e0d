-- What the fleet looked like, for charts: one design for every resolution, written by the stats aggregator alone.

-- A row stands for so many minutes from `started_at` on. Amounts are sums over the samples in it, so that an hour is
-- exactly its minutes added up and a day its hours, and `amount / samples` is the average. Minutes in which
-- nobody looked are in no sample: a gap looks like a gap.
create table vps_history (
    started_at timestamptz not null,
    running bigint not null,
    stopped bigint not null,
    provisioning bigint not null,
    rebooting bigint not null,
    error bigint not null,
    other bigint not null,
    samples integer not null check (samples > 0),
    resolution_minutes smallint not null check (resolution_minutes in (1, 60, 1440)),
    primary key (resolution_minutes, started_at)
)
-- The newest hour and day are written again each minute, and stay on their page.
with (fillfactor = 90);
