-- Questions to the database itself.

-- name: heartbeat
-- A dead peer is only noticed by talking to it.
select 1;

-- name: notify
select pg_notify($1, $2);

-- name: suitability
-- What decides whether this release may work here. Columns of schema B appear when the original
-- application was upgraded under us: it then bills by itself and cannot be paused.
select current_setting('server_version_num')::integer as server_version,
       to_regclass('public.containerstacks_schema_version') is not null as migrated,
       exists (
           -- The catalogue itself: information_schema hides columns that this role may not read.
           select
             from pg_attribute
            where not attisdropped
              and (attrelid, attname) in (
                  (to_regclass('public.vps_instances'), 'backup_frequency'),
                  (to_regclass('public.vps_plans'), 'backup_price_monthly'),
                  (to_regclass('public.payment_transactions'), 'provider_capture_id')
              )
       ) as schema_b;

-- name: schema_revision
select version_num
  from containerstacks_schema_version;

-- name: clock_offset
select clock_now() - now() as clock_offset;

