-- The fleet by status over time. Bins are UTC: date_bin counts from an origin that begins a day.

-- name: record_minute
-- A second leader in the same minute adds nothing.
insert into vps_history
    (resolution_minutes, started_at, samples, running, stopped, provisioning, rebooting, error, other)
values (1, date_trunc('minute', clock_now()), 1, $1, $2, $3, $4, $5, $6)
    on conflict do nothing;

-- name: roll_up
-- Adds up the finer rows from the newest coarse one on, which was unfinished when it was written. So nothing
-- is lost that was recorded before a failure, and doing it twice is harmless.
insert into vps_history
    (resolution_minutes, started_at, samples, running, stopped, provisioning, rebooting, error, other)
select $2::smallint,
       date_bin(make_interval(mins => $2), fine.started_at, '2000-01-01 00:00:00+00'),
       sum(fine.samples),
       sum(fine.running),
       sum(fine.stopped),
       sum(fine.provisioning),
       sum(fine.rebooting),
       sum(fine.error),
       sum(fine.other)
  from vps_history as fine
 where fine.resolution_minutes = $1::smallint
   and fine.started_at >= coalesce((select max(coarse.started_at)
                                      from vps_history as coarse
                                     where coarse.resolution_minutes = $2::smallint), '-infinity')
 group by 2
    on conflict (resolution_minutes, started_at)
    do update set samples = excluded.samples,
                  running = excluded.running,
                  stopped = excluded.stopped,
                  provisioning = excluded.provisioning,
                  rebooting = excluded.rebooting,
                  error = excluded.error,
                  other = excluded.other;

-- name: forget
delete from vps_history
 where resolution_minutes = $1::smallint
   and started_at < clock_now() - $2::interval;

-- name: seconds_to_next_minute
select extract(epoch from date_trunc('minute', clock_now()) + interval '1 minute' - clock_now())::float8;

-- name: series
-- Averages per step ($2) over the last $3, from rows of the resolution $1. Every step is there: one in which
-- there was no look has no samples and no amounts.
with steps as (
    select generate_series(date_bin($2::interval, clock_now() - $3::interval, '2000-01-01 00:00:00+00') + $2::interval,
                           clock_now(),
                           $2::interval) as started_at
),
recorded as (
    select date_bin($2::interval, started_at, '2000-01-01 00:00:00+00') as started_at,
           sum(samples) as samples,
           sum(running) as running,
           sum(stopped) as stopped,
           sum(provisioning) as provisioning,
           sum(rebooting) as rebooting,
           sum(error) as error,
           sum(other) as other
      from vps_history
     where resolution_minutes = $1::smallint
       and started_at >= (select min(started_at) from steps)
     group by 1
)
select steps.started_at,
       coalesce(recorded.samples, 0)::integer as samples,
       round(recorded.running / recorded.samples, 2) as running,
       round(recorded.stopped / recorded.samples, 2) as stopped,
       round(recorded.provisioning / recorded.samples, 2) as provisioning,
       round(recorded.rebooting / recorded.samples, 2) as rebooting,
       round(recorded.error / recorded.samples, 2) as error,
       round(recorded.other / recorded.samples, 2) as other
  from steps
  left join recorded
 using (started_at)
 order by steps.started_at;
