-- How far a hot standby has come.

-- name: primary_position
-- Asked of the primary. Whatever was committed before `at` lies before this position.
select pg_current_wal_insert_lsn()::text as position,
       clock_timestamp() as at;

-- name: standby_position
-- Asked of the standby. Nothing is missing when it has replayed all that the primary had written; else everything up to
-- the last commit that it replayed is there, by the primary's clock. NULL when it does not know: it has replayed none since it
-- started. With the primary away there is no position to compare, and this server's clock has to do.
select pg_is_in_recovery() as is_standby,
       case
           when pg_last_wal_replay_lsn() >= $1::text::pg_lsn then interval '0'
           else greatest(coalesce($2::timestamptz, clock_timestamp()) - pg_last_xact_replay_timestamp(), interval '0')
       end as behind;
