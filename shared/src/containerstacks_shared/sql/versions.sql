-- Versions of the live status. A greater version was read later, across every web process.

-- name: lock_versions
-- Held to the end of the transaction, so that drawing a number and reading what it stands for
-- happen to one process at a time. Taken before the read: the read is a later statement and sees
-- everything that committed before.
select pg_advisory_xact_lock($1::integer, $2::integer);

-- name: next_version
select nextval('status_versions');
