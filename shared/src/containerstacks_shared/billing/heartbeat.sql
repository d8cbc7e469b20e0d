-- Rows of billing_daemon_status, in the original application's columns and meaning. Ours carry metadata.biller.

-- name: lock_rows
-- All of ours, in one order: of two that start or stop at once one waits, and they cannot deadlock.
select daemon_instance_id
  from billing_daemon_status
 where metadata ? 'biller'
 order by daemon_instance_id
   for update;

-- name: start
insert into billing_daemon_status (daemon_instance_id, status, started_at, heartbeat_at, metadata)
values ($1, 'running', clock_now(), clock_now(), $2)
    on conflict (daemon_instance_id) do update
   set status = 'running', started_at = clock_now(), heartbeat_at = clock_now(), metadata = excluded.metadata;

-- name: clear_dead
-- A starting biller holds the role, so another row of its kind is dead. A row of the other kind is dead if its heartbeat is stale.
update billing_daemon_status
   set heartbeat_at = null, status = 'stopped'
 where metadata ? 'biller'
   and daemon_instance_id <> $1
   and heartbeat_at is not null
   and (metadata ->> 'biller' = $2 or heartbeat_at < clock_now() - $3::interval);

-- name: beat
-- A stalled leader that wakes must not look alive: its term says so.
update billing_daemon_status
   set heartbeat_at = clock_now(), status = 'running'
 where daemon_instance_id = $1
   and exists (select from leaderships where role = $2 and term = $3)
returning heartbeat_at;

-- name: record_success
update billing_daemon_status
   set last_run_at = clock_now(), last_run_success = true, instances_billed = $2, total_amount = $3,
       total_hours = $4, error_message = null
 where daemon_instance_id = $1;

-- name: record_failure
update billing_daemon_status
   set last_run_at = clock_now(), last_run_success = false, error_message = $2
 where daemon_instance_id = $1;

-- name: stop
update billing_daemon_status
   set status = 'stopped'
 where daemon_instance_id = $1;

-- name: beat_once
-- Of a single run, which holds no role. Its biller has a name of its own, so that it is not mistaken for the daemon.
insert into billing_daemon_status (daemon_instance_id, status, started_at, heartbeat_at, metadata)
values ($1, 'running', clock_now(), clock_now(), $2)
    on conflict (daemon_instance_id) do update
   set heartbeat_at = clock_now();

-- name: leave_once
delete from billing_daemon_status
 where daemon_instance_id = $1;

-- name: hand_back
-- No biller of ours is active or standing by: the original application may resume at its next tick.
update billing_daemon_status
   set heartbeat_at = null
 where metadata ? 'biller'
   and heartbeat_at is not null;

-- name: billers
-- The newest row of each of our billers.
select distinct on (metadata ->> 'biller')
       metadata ->> 'biller' as biller, daemon_instance_id, status, started_at, heartbeat_at,
       heartbeat_at > clock_now() - $1::interval as is_fresh,
       metadata ->> 'hostname' as host,
       (metadata ->> 'billingIntervalMinutes')::integer as interval_minutes,
       clock_now() as read_at
  from billing_daemon_status
 where metadata ? 'biller'
 order by metadata ->> 'biller', heartbeat_at desc nulls last, started_at desc;

-- name: latest_runs
-- The last run that was meant for everybody, the last good one, and the daemon's own last and last good one. Without
-- money: those who read this need not be allowed to see any.
select which, r.id, r.biller, r.started_at, r.finished_at, r.status, r.instances_billed, r.hours_billed,
       r.instances_unpaid, r.error_message
  from (values ('last', null, null), ('last_successful', null, 'succeeded'),
               ('daemon_last', 'daemon', null), ('daemon_last_successful', 'daemon', 'succeeded'))
       as wanted (which, biller, status)
 cross join lateral (
     select id, biller, started_at, finished_at, status, instances_billed, hours_billed, instances_unpaid, error_message
       from billing_runs
      where finished_at is not null
        and trigger <> 'top_up'
        and (wanted.biller is null or biller = wanted.biller)
        and (wanted.status is null or status = wanted.status)
      order by id desc
      limit 1) as r;

-- name: amount_billed
select amount_billed
  from billing_runs
 where id = $1;
