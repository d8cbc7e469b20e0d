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
           select
             from information_schema.columns
            where table_schema = 'public'
              and (table_name, column_name) in (
                  ('vps_instances', 'backup_frequency'),
                  ('vps_plans', 'backup_price_monthly'),
                  ('payment_transactions', 'provider_capture_id')
              )
       ) as schema_b;

-- name: schema_revision
select version_num
  from containerstacks_schema_version;

-- name: clock_offset
select clock_now() - now() as clock_offset;

