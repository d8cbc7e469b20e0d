-- What decides whether this release may work on a database. Schemas are named, as the probe has the search_path of the
-- database: a pooler would refuse another one.

-- name: notify
select pg_notify($1, $2);

-- name: suitability
-- What decides whether this release may work here.
select current_setting('server_version_num')::integer as server_version,
       to_regclass('public.containerstacks_schema_version') is not null as migrated;

-- name: application_changes
-- What an upgrade of the application changed under us.
select public.application_changes();

-- name: schema_revision
select version_num
  from public.containerstacks_schema_version;

-- name: clock_offset
select public.clock_now() - now() as clock_offset;
