-- The fence. A process that takes a role raises its term; a transaction of an older term fails its check.

-- name: try_lock
-- Belongs to the session: gone as soon as the server notices that the session is.
select pg_try_advisory_lock($1::integer, $2::integer);

-- name: unlock
select pg_advisory_unlock($1::integer, $2::integer);

-- name: raise_term
-- Waits for `hold_term` of a predecessor's transaction that is still in flight: after this commits, no
-- transaction of the older term can commit anything. The caller limits the wait by lock_timeout.
update leaderships
   set term = term + 1,
       holder = $2,
       taken_at = clock_now()
 where role = $1
returning term;

-- name: hold_term
-- The share lock makes a successor wait until this transaction has ended; holders do not wait for each other.
select term,
       holder
  from leaderships
 where role = $1
   for share;

-- name: is_held
-- Two int4 keys stand in pg_locks as (classid, objid, objsubid 2).
select exists (
    select
      from pg_locks
     where locktype = 'advisory'
       and database = (select oid from pg_database where datname = current_database())
       and classid = $1::integer::oid
       and objid = $2::integer::oid
       and objsubid = 2
       and granted
);

-- name: limit_lock_wait
-- For this transaction only.
select set_config('lock_timeout', $1, true);

-- name: end_stuck_sessions
-- Those whose process stopped in the middle of a statement; the function says which.
select pid,
       application_name
  from end_stuck_sessions();

-- name: try_lock_shared
-- Shared by any number of sessions: it shows that a candidate is there, not who acts.
select pg_try_advisory_lock_shared($1, $2);

-- name: unlock_shared
select pg_advisory_unlock_shared($1, $2);
