-- name: abandon_runs
-- Only the holder of the run lock starts a run, so whatever still says `running` belongs to a dead process.
update billing_runs
   set status = 'interrupted',
       finished_at = clock_now(),
       error_message = 'the process ended before the run did'
 where status = 'running';

-- name: start_run
insert into billing_runs (biller, trigger, holder, term)
values ($1, $2, $3, $4)
returning id, started_at;

-- name: add_progress
-- In the transaction of each batch, so that a killed run still says truly what it did.
update billing_runs
   set instances_billed = instances_billed + $2,
       hours_billed = hours_billed + $3,
       amount_billed = amount_billed + $4,
       instances_unpaid = instances_unpaid + $5,
       hours_unpaid = hours_unpaid + $6
 where id = $1;

-- name: finish_run
update billing_runs
   set status = $2,
       finished_at = clock_now(),
       problems = $3,
       error_message = $4
 where id = $1
   and status = 'running';

-- name: recent_runs
select id, biller, trigger, holder, status, started_at, finished_at, instances_billed, hours_billed,
       amount_billed, instances_unpaid, hours_unpaid, error_message
  from billing_runs
 order by id desc
 limit $1;

-- name: page_of_runs
-- Downwards from a run; $2 only those that ended so (billing_runs_status).
select id, biller, trigger, holder, status, started_at, finished_at, instances_billed, hours_billed,
       amount_billed, instances_unpaid, hours_unpaid, error_message
  from billing_runs
 where ($1::bigint is null or id < $1)
   and ($2::text is null or status = $2)
 order by id desc
 limit $3;

-- name: page_of_later_runs
-- Upwards from a run, for the way back.
select id, biller, trigger, holder, status, started_at, finished_at, instances_billed, hours_billed,
       amount_billed, instances_unpaid, hours_unpaid, error_message
  from billing_runs
 where id > $1
   and ($2::text is null or status = $2)
 order by id
 limit $3;

-- name: find_run
select id, biller, trigger, holder, status, started_at, finished_at, instances_billed, hours_billed,
       amount_billed, instances_unpaid, hours_unpaid, error_message, problems
  from billing_runs
 where id = $1;

-- name: clock_regressed
-- The database's clock stands before a run that already happened: NULL when all is well.
select max(coalesce(finished_at, started_at))
  from billing_runs
having max(coalesce(finished_at, started_at)) > clock_now() + interval '1 minute';

-- name: series
-- What the runs did per step ($1) over the last $2, by when they began (billing_runs_started_at). Every step is
-- there: one in which no run began has none. An interrupted run has no duration: it was closed only when the next run noticed it.
-- Bins are UTC: date_bin counts from an origin that begins a day.
with steps as (
    select generate_series(date_bin($1::interval, clock_now() - $2::interval, '2000-01-01 00:00:00+00') + $1::interval,
                           clock_now(),
                           $1::interval) as started_at
),
recorded as (
    select date_bin($1::interval, started_at, '2000-01-01 00:00:00+00') as started_at,
           count(*) as runs,
           count(*) filter (where status in ('failed', 'interrupted')) as failed,
           sum(instances_billed) as instances_billed,
           max(finished_at - started_at) filter (where status <> 'interrupted') as longest
      from billing_runs
     where started_at >= (select min(started_at) from steps)
     group by 1
)
select steps.started_at,
       coalesce(recorded.runs, 0) as runs,
       coalesce(recorded.failed, 0) as failed,
       coalesce(recorded.instances_billed, 0)::bigint as instances_billed,
       round(extract(epoch from recorded.longest), 3) as longest_seconds
  from steps
  left join recorded
 using (started_at)
 order by steps.started_at;
