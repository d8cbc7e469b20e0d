-- What `containerstacks doctor` asks of the server itself. Everything here only reads.

-- name: server
select current_setting('server_version') as version,
       current_setting('server_version_num')::integer as version_number,
       pg_encoding_to_char(encoding) as encoding,
       current_setting('default_transaction_isolation') as isolation,
       current_setting('autovacuum')::boolean as autovacuum,
       current_setting('fsync')::boolean as fsync,
       current_setting('full_page_writes')::boolean as full_page_writes,
       clock_timestamp() as now,
       clock_now() - now() as clock_offset,
       coalesce(host(inet_server_addr()) in ('127.0.0.1', '::1'), true) as is_local,
       -- NULL for a role that may not know it.
       (select setting from pg_settings where name = 'data_directory') as data_directory,
       pg_database_size(datname) as database_bytes,
       age(datfrozenxid) as transactions_since_freeze,
       (select sum(numbackends) from pg_stat_database)::bigint as connections,
       current_setting('max_connections')::bigint as connections_max,
       pg_notification_queue_usage() as notification_queue_usage,
       (select rolsuper from pg_roles where rolname = current_user) as is_superuser
  from pg_database
 where datname = current_database();

-- name: disabled_triggers
select count(*)
  from pg_trigger
 where tgname like 'containerstacks\_%'
   and tgenabled = 'D';

-- name: oldest_transaction
-- For how long the oldest transaction has been open in this database.
select max(clock_timestamp() - xact_start) as open_for
  from pg_stat_activity
 where datname = current_database()
   and pid <> pg_backend_pid()
   and backend_type = 'client backend';

-- name: missing_rights
-- What deploy/postgres/roles.sql of this release grants, by a few examples. $1 roles, $2 tables, $3 privileges.
select role, relation, privilege
  from unnest($1::text[], $2::text[], $3::text[]) as wanted (role, relation, privilege)
 where to_regrole(role) is not null
   and to_regclass(relation) is not null
   and not has_table_privilege(to_regrole(role), to_regclass(relation), privilege);

-- name: service_roles
select count(*)
  from unnest($1::text[]) as role
 where to_regrole(role) is not null;

-- name: tables
-- The tables that grow, the largest first.
select relname as name, n_live_tup as rows, n_dead_tup as dead_rows,
       greatest(last_vacuum, last_autovacuum) as vacuumed_at,
       greatest(last_analyze, last_autoanalyze) as analyzed_at,
       pg_total_relation_size(relid) as bytes
  from pg_stat_user_tables
 where relname = any ($1::text[])
 order by pg_total_relation_size(relid) desc;

-- name: billers
-- Those that beat now: their kind, their release, and the interval that they go by. No host: that may be a name.
select metadata ->> 'biller' as biller, metadata ->> 'version' as version,
       (metadata ->> 'billingIntervalMinutes')::integer as interval_minutes
  from billing_daemon_status
 where metadata ? 'biller'
   and heartbeat_at > clock_now() - $1::interval
 order by 1;

-- name: runs
-- For a bundle: no amounts, no hosts, and of an error's text what its author makes harmless.
select id, biller, trigger, status, started_at, finished_at, instances_billed, hours_billed, instances_unpaid,
       hours_unpaid, error_message
  from billing_runs
 order by id desc
 limit $1;
