-- What each component was like. Bins are UTC: date_bin counts from an origin that begins a day.

-- name: save_state
-- Tells whether the state is another one than was known: one older than $4 said nothing any more.
with before as (
    select state from component_states where component = $1 and checked_at > clock_now() - $4::interval
)
insert into component_states (component, state, because, checked_at)
values ($1, $2, $3, clock_now())
    on conflict (component)
    do update set state = excluded.state, because = excluded.because, checked_at = excluded.checked_at
returning state is distinct from (select state from before);

-- name: announce
select pg_notify('components_changed', '');

-- name: record_minute
-- A second leader in the same minute adds nothing.
insert into component_history (resolution_minutes, started_at, component, operational, degraded, down, maintenance)
values (1, date_trunc('minute', clock_now()), $1,
        ($2 = 'operational')::integer, ($2 = 'degraded')::integer, ($2 = 'down')::integer, ($2 = 'maintenance')::integer)
    on conflict do nothing;

-- name: record_outage
-- The database was away at $1. A minute that began well is down all the same, unless somebody has looked since $1:
-- then it was not the database that was away. Announced maintenance stays.
insert into component_history (resolution_minutes, started_at, component, operational, degraded, down, maintenance)
values (1, date_trunc('minute', $1::timestamptz), 'database', 0, 0, 1, 0)
    on conflict (resolution_minutes, started_at, component)
    do update set operational = 0, degraded = 0, down = 1
 where component_history.maintenance = 0
   and $1 > (select checked_at from component_states where component = 'database');

-- name: roll_up
-- Adds up the finer rows from the newest coarse one on, which was unfinished when it was written, or from an
-- outage that is recorded late. Doing it twice is harmless.
insert into component_history
    (resolution_minutes, started_at, component, operational, degraded, down, maintenance)
select $2::smallint,
       date_bin(make_interval(mins => $2), fine.started_at, '2000-01-01 00:00:00+00'),
       fine.component,
       sum(fine.operational),
       sum(fine.degraded),
       sum(fine.down),
       sum(fine.maintenance)
  from component_history as fine
 where fine.resolution_minutes = $1::smallint
   and fine.started_at >= least(
           coalesce((select max(coarse.started_at)
                       from component_history as coarse
                      where coarse.resolution_minutes = $2::smallint), '-infinity'),
           date_bin(make_interval(mins => $2), $3::timestamptz, '2000-01-01 00:00:00+00'))
 group by 2, 3
    on conflict (resolution_minutes, started_at, component)
    do update set operational = excluded.operational,
                  degraded = excluded.degraded,
                  down = excluded.down,
                  maintenance = excluded.maintenance;

-- name: forget
delete from component_history
 where resolution_minutes = $1::smallint
   and started_at < clock_now() - $2::interval;

-- name: states
select component, state, because, checked_at,
       checked_at > clock_now() - $1::interval as is_fresh
  from component_states;

-- name: minutes_since
-- Rows of $1 minutes that began within the last $2: the one in hand with what is recorded of it so far.
select component,
       sum(operational)::integer as operational,
       sum(degraded)::integer as degraded,
       sum(down)::integer as down,
       sum(maintenance)::integer as maintenance
  from component_history
 where resolution_minutes = $1::smallint
   and started_at > clock_now() - $2::interval
 group by component;

-- name: days
-- The last $1 days of UTC with today, per component only those in which something was recorded.
select component,
       (started_at at time zone 'UTC')::date as date,
       operational::integer, degraded::integer, down::integer, maintenance::integer
  from component_history
 where resolution_minutes = 1440
   and started_at > clock_now() - $1::integer * interval '24 hours'
 order by started_at;

-- name: today
select (clock_now() at time zone 'UTC')::date;

-- name: clock
-- The time, and how long until the next minute begins.
select clock_now() as now,
       date_trunc('minute', clock_now()) + interval '1 minute' - clock_now() as to_next_minute;
