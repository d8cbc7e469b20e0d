-- What depends on which columns the application's tables have. Run by every migration, since its application may have been
-- upgraded meanwhile.

-- Under which region an instance's hours are priced (hourly_rates.region). Where the application sells backups, an instance
-- with backups is priced apart.
do $$
declare
    sells_backups constant boolean := exists (
        select from pg_attribute
         where attrelid = 'public.vps_instances'::regclass and attname = 'backup_frequency' and not attisdropped);
    known constant text := (
        select pg_get_expr(d.adbin, d.adrelid)
          from pg_attribute a
          join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
         where a.attrelid = 'public.vps_instances'::regclass and a.attname = 'rate_region' and not a.attisdropped);
    watching constant text := (
        select pg_get_triggerdef(oid)
          from pg_trigger
         where tgrelid = 'public.vps_instances'::regclass and tgname = 'containerstacks_plan_changed');
begin
    if (known like '%backup_frequency%') is not distinct from sells_backups then
        return;
    end if;
    if watching is not null then
        drop trigger containerstacks_plan_changed on vps_instances;
    end if;
    if known is not null then
        alter table vps_instances drop column rate_region;
    end if;
    execute format(
        'alter table vps_instances add column rate_region text'
        ' generated always as (rate_region(plan_id, configured_region(configuration)%s)) stored',
        case when sells_backups
             then ' || case when backup_frequency in (''daily'', ''weekly'') then '' +backups'' else '''' end' else '' end);
    if watching is not null then
        execute watching;
        perform register_rates(array_agg(plan_id), array_agg(rate_region))
           from (select distinct plan_id, rate_region from vps_instances) as used;
    end if;
end;
$$;

-- What an upgrade of the application has changed under us since the last migration, or NULL. Whoever starts asks it, and every
-- run, and the aggregator every few seconds.
create or replace function application_changes() returns text
    language sql stable
    as $$
    select string_agg(change, '; ' order by change)
      from (select format('%s.%s is %s', money.owner_name, money.column_name, format_type(a.atttypid, a.atttypmod)) as change
              from (values ('wallets', 'balance'), ('payment_transactions', 'amount'), ('vps_billing_cycles', 'hourly_rate'),
                           ('vps_billing_cycles', 'total_amount')) as money (owner_name, column_name)
              join pg_catalog.pg_attribute a
                on a.attrelid = to_regclass('public.' || money.owner_name)
               and a.attname = money.column_name
             where format_type(a.atttypid, a.atttypmod) <> 'numeric(18,8)'
             union all
            select format('vps_instances.backup_frequency %s', case when is_there then 'is new' else 'is gone' end)
              from (select exists (select from pg_catalog.pg_attribute
                                    where attrelid = to_regclass('public.vps_instances')
                                      and attname = 'backup_frequency'
                                      and not attisdropped) as is_there,
                           exists (select from pg_catalog.pg_attribute a
                                     join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                                    where a.attrelid = to_regclass('public.vps_instances')
                                      and a.attname = 'rate_region'
                                      and pg_get_expr(d.adbin, d.adrelid) like '%backup_frequency%') as is_priced) as backups
             where is_there <> is_priced
             union all
            select format('table %s is gone', needed)
              from unnest(array['billing_daemon_status', 'containers', 'container_plans']) as needed
             where to_regclass('public.' || needed) is null
             union all
            select format('trigger %s on %s is %s', wanted.name, wanted.owner_name,
                          case when t.oid is null then 'gone' else 'disabled' end)
              from (values ('wallets', 'containerstacks_ledger'), ('payment_transactions', 'containerstacks_guard_inserted'),
                           ('payment_transactions', 'containerstacks_guard_updated'),
                           ('vps_billing_cycles', 'containerstacks_guard_inserted'),
                           ('vps_instances', 'containerstacks_guard_mark')) as wanted (owner_name, name)
              left join pg_catalog.pg_trigger t
                     on t.tgrelid = to_regclass('public.' || wanted.owner_name)
                    and t.tgname = wanted.name
             where coalesce(t.tgenabled, 'D') = 'D') as changed;
$$;
