-- Versions of the live status. A greater version was read later, across every web process.

-- name: draw_version
-- The lock is held to the end of the transaction, so that drawing a number and reading what it stands for
-- happen to one process at a time. Scanning `held` takes it, so the number is drawn after. Both come before the read,
-- which is a later statement and sees everything that committed before.
with held as materialized (
    select pg_advisory_xact_lock($1::integer, $2::integer)
)
select nextval('status_versions')
  from held;
